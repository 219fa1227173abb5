"""Exercise 8.5, open: at most four network calls, on the toy language, where broken sentences are counted exactly.

Everything the sampler claims is measured: calls by a denoiser that counts, sentences by the grammar, variety against
the language itself. That the words come from the network is seen with one that is certain of a made-up sentence.
"""

import math
from functools import cache

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.samples import Figures, check_sample, measure
from difflm_core.classroom.exercises.spies import Counter, Spy, seeded
from difflm_core.samplers import Sample, ancestral, draw, sample_masked

CALLS = 4
DISTINCT, SPREAD, BROKEN = 0.6, 0.85, 0.5  # least share of distinct sentences; least spread; most broken, both relative

# Slots that decide nothing about each other, given all earlier groups, go together (see `reference`).
GROUPS = ([8, 10], [3, 7], [0, 1, 4, 5, 9], [2, 6, 11])


def ex8_5(denoiser, language, sentences: int = 400) -> Check:
    """The check for `my_sampler(denoiser, shape, generator) -> Sample`. It needs a denoiser that knows the language: a
    trained network, or `language.denoiser(masked(language.V))`; with an untrained one nothing can pass.
    """
    shape = (sentences, language.length)

    @cache
    def broken_with(sampler) -> float:
        return measure(sampler(denoiser, shape, seeded(1)).tokens, language).broken

    @torch.no_grad()
    def test(my_sampler):
        check_words_are_the_networks(my_sampler, language)
        counter = Counter(denoiser)
        sample = my_sampler(counter, shape, seeded(0))
        check_sample(sample, shape, language.V, ": the last step must reveal the rest")
        check_calls(sample, counter.rows / sentences)
        figures = measure(sample.tokens, language)
        check_variety(figures, language)
        usual = broken_with(ancestral_sampler)
        if figures.broken > BROKEN * usual:
            check_denoiser(broken_with(reference), usual)
            complain(figures.broken, usual, sentences)
        check.praise = (
            f"{figures.broken:.1%} of your sentences are broken, {usual:.1%} with ancestral({CALLS});"
            f" {figures.distinct:.0%} are distinct, and you asked the network {counter.rows / sentences:.1f} times."
        )

    check = Check("8.5", test=test, hints=HINTS, reference=reference)
    return check


def check_words_are_the_networks(my_sampler, language):
    """A network that is certain of one nonsense sentence must be believed."""
    nonsense = torch.arange(language.length) * 7 % language.V
    certain = 1e4 * torch.nn.functional.one_hot(nonsense, language.V).double()
    spy = Spy(lambda z: certain[: z.shape[1]].expand(len(z), -1, -1), language.V, language.length)
    sample = my_sampler(spy, (3, language.length), seeded(0))
    assert spy.asked, "Your sampler never asks the denoiser that it is given: use that one, no other."
    check_sample(sample, (3, language.length), language.V, ": the last step must reveal the rest")
    assert torch.equal(sample.tokens, nonsense.expand(3, -1)), (
        "Every word must be drawn from what the denoiser says there. Given one that is certain of every word, your"
        " sampler wrote others: are words corrected afterwards, or logits of one position used at another?"
    )


def check_calls(sample, asked: float):
    """`asked` is how often a row really was given to the network, on average."""
    claimed = torch.as_tensor(sample.network_calls).double()
    assert asked <= float(claimed.mean()) + 1e-6, (
        f"network_calls says {float(claimed.mean()):.2f} a row, but the network was asked {asked:.2f} times a row."
        " Count every call, also those for drafts that you throw away."
    )
    assert float(claimed.max()) <= CALLS, (
        f"Too many network calls: {float(claimed.max()):.0f} for one row, at most {CALLS}."
    )


def check_variety(figures: Figures, language):
    assert figures.distinct >= DISTINCT, (
        f"Your sampler has collapsed: only {figures.distinct:.0%} of its sentences are distinct. Writing one right"
        " sentence again and again (temperature near 0) is the usual way to break no rule."
    )
    full = language.positional_entropy() / language.length
    assert figures.spread >= SPREAD * full, (
        f"Your sampler is narrow: the words at a position have {figures.spread:.2f} nats of entropy, in the language"
        f" {full:.2f}, and at least {SPREAD * full:.2f} are asked. A low temperature, or keeping the most confident of"
        " the drawn tokens, favours frequent words."
    )


def check_denoiser(reachable: float, usual: float):
    assert reachable <= BROKEN * usual, (
        f"This denoiser does not know the language well enough: {usual:.1%} of its sentences are broken with"
        f" ancestral({CALLS}), and {reachable:.1%} with the course's own answer. Train it longer, or take"
        " language.denoiser(masked(language.V))."
    )


def complain(broken: float, usual: float, sentences: int):
    """Say how far a sampler is that breaks more than BROKEN times the usual share."""
    chance = 2 * math.sqrt((broken * (1 - broken) + usual * (1 - usual)) / sentences)  # two standard errors
    said = f"{broken:.1%} of your sentences are broken, {usual:.1%} with ancestral({CALLS})"
    if broken > usual - chance:
        said += f": no better yet (±{chance:.1%} is chance). Which words must agree, and were they drawn in one step?"
    else:
        said += ". Better, but ask for at most half as many: which words that must agree are still drawn in one step?"
    raise AssertionError(said)


def ancestral_sampler(denoiser, shape, generator=None):
    return sample_masked(denoiser, ancestral(CALLS), shape, generator=generator)


def reference(denoiser, shape, generator=None):
    """Four calls, each for a group of slots of which none decides about another, given what is already written."""
    z = torch.full(shape, denoiser.V)
    for group in GROUPS:
        t = (z == denoiser.V).double().mean(1).float()  # (B,), the share still masked
        h = denoiser.hidden(z, t)[:, group]  # (B, group, D)
        z[:, group] = draw(denoiser.logits(h).flatten(0, 1), generator).view(shape[0], -1)
    return Sample(z, torch.full((shape[0],), len(GROUPS)))


HINTS = [
    "Tokens drawn in one step do not see each other. Which positions of a sentence must agree: the subject's"
    " determiner, noun, verb and its/their; the object's determiner and noun; the two colours; and all of them with"
    " the shape?",
    "The order is yours, and need not be random. Draw first a few words that tell much (the shape, a number, the"
    " colour) and nothing about each other; then everything that is settled by them.",
    "Look at language.sample(20). Position 10 is always a colour. Position 8 tells 'noun in' from 'noun with': one of"
    " the three shapes. Once position 3 is known too, so is the shape, and the subject's number.",
]
