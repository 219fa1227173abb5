"""Exercise 10.5, open: the most grammatical sentences in eight network calls, as various as the language.

Everything is measured: calls of both networks by counting, sentences by the grammar, variety against the language. The
positions are shuffled before the sampler sees them, so that no order found by hand (as in exercise 8.5) can help.
"""

from functools import cache

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.lesson_10.eight_calls_rules import (
    CALLS,
    check_broken,
    check_calls,
    check_variety,
)
from difflm_core.classroom.exercises.lesson_10.shuffled import Indifferent, Shuffled
from difflm_core.classroom.exercises.samples import check_sample, measure
from difflm_core.classroom.exercises.spies import Spy, seeded
from difflm_core.samplers import Sample, ancestral, draw, gumbel_top_k, sample_masked


def ex10_5(denoiser, predictor, language, sentences: int = 1000) -> Check:
    """The check for `my_sampler(denoiser, error_predictor, shape, generator) -> Sample`, under a trained denoiser and a
    predictor trained for it.
    """
    shape, place = (sentences, language.length), torch.randperm(language.length, generator=seeded(5))

    @cache
    def limits() -> tuple[float, float]:
        """What ancestral sampling breaks in as many calls, and the spread of as many true sentences."""
        plain = sample_masked(denoiser, ancestral(CALLS), (2000, shape[1]), generator=seeded(1)).tokens
        truth = language.sample(sentences, generator=seeded(2))
        return measure(plain, language).broken, measure(truth, language).spread

    @torch.no_grad()
    def test(my_sampler):
        check_words_are_the_networks(my_sampler, language)
        networks = Shuffled(denoiser, place), Shuffled(predictor, place)
        sample = my_sampler(*networks, shape, seeded(0))
        check_sample(sample, shape, language.V, ": nothing may be taken back at the end")
        check_calls(sample, sum(network.rows for network in networks) / sentences)
        found, (broken, spread) = measure(sample.tokens[:, place.argsort()], language), limits()
        check_variety(found, spread)
        check_broken(found.broken, broken)
        check.praise = (
            f"{found.broken:.1%} of your sentences are broken, {broken:.1%} with ancestral({CALLS}); the right"
            f" ones are {found.gap:+.2f} nats likelier than true ones."
        )

    check = Check("10.5", test=test, hints=HINTS, reference=reference)
    return check


def check_words_are_the_networks(my_sampler, language):
    """A network that is certain of one nonsense sentence must be believed."""
    nonsense = torch.arange(language.length) * 7 % language.V
    certain = 1e3 * torch.nn.functional.one_hot(nonsense, language.V).double()
    spy = Spy(lambda z: certain[: z.shape[1]].expand(len(z), -1, -1), language.V, language.length)
    sample = my_sampler(spy, Indifferent(language.V, language.length), (3, language.length), seeded(0))
    assert spy.asked, "Your sampler never asks the denoiser that it is given: use that one, no other."
    check_sample(sample, (3, language.length), language.V, ": nothing may be taken back at the end")
    assert torch.equal(sample.tokens, nonsense.expand(3, -1)), (
        "Every word must be drawn from what the denoiser says there. Given one that is certain of every word, your"
        " sampler wrote others."
    )


def reference(denoiser, error_predictor, shape, generator=None):
    """A planned draft in five calls, single words first; one look at it; the four doubtful words again in two calls."""
    z, masked = torch.full(shape, denoiser.V), torch.ones(shape, dtype=torch.bool)
    z = write_in_turns(denoiser, z, masked, (1, 1, 2, 3, 5), generator)
    score, four = error_predictor.error_logits(z), torch.full(shape[:1], 4)
    doubtful = gumbel_top_k(score, four, 0.5, masked, generator)
    z = write_in_turns(denoiser, z.masked_fill(doubtful, denoiser.V), doubtful, (2, 2), generator)
    return Sample(z, torch.full(shape[:1], 8))


def write_in_turns(denoiser, z, where, sizes, generator):
    """Fill the places `where`, in a random order, so many per call."""
    order = torch.rand(z.shape, generator=generator).masked_fill(~where, 2.0).argsort(1).argsort(1)
    first = 0
    for size in sizes:
        here = where & (order >= first) & (order < first + size)
        t = (z == denoiser.V).float().mean(1)
        z = z.masked_scatter(here, draw(denoiser(z, t)[here], generator))
        first += size
    return z


HINTS = [
    "ancestral(8) tosses coins: in some steps it writes four words, in others none. Write the loop yourself and plan"
    " how many words each call writes, in a random order. Early words decide most: let them come one at a time.",
    "A guided step costs two calls, and at the beginning most of what it finds is thrown away anyway. When is one look"
    " of the predictor worth two drafts?",
    "At the end: write 1, 1, 2, 3 and 5 words, ask the predictor once, take back four words with gumbel_top_k, and"
    " write these again in two calls. That makes eight.",
]
