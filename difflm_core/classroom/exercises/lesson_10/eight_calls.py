"""Exercise 10.5, open: the most grammatical sentences in eight network calls, as various as the language.

Everything is measured: calls of both networks by counting, sentences by the grammar, variety against the language. The
positions are shuffled before the sampler sees them, so that no order found by hand (as in exercise 8.5) can help.
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.lesson_10.eight_calls_rules import (
    CALLS,
    check_broken,
    check_calls,
    check_sample,
    check_variety,
)
from difflm_core.classroom.exercises.spies import Spy, seeded
from difflm_core.samplers import Sample, ancestral, draw, gumbel_top_k, sample_masked


@dataclass(frozen=True)
class Figures:
    """Of a batch: share of broken sentences, nats by which right ones are likelier than true ones, nats of the words at
    a position.
    """

    broken: float
    gap: float
    spread: float


def measure(tokens: Int[Tensor, "B L"], language) -> Figures:
    good = language.grammatical(tokens)
    used = torch.nn.functional.one_hot(tokens, language.V).double().mean(0)  # (L, V)
    gap = language.log_prob(tokens[good]).mean().item() + language.entropy() if bool(good.any()) else 0.0
    return Figures(1 - good.double().mean().item(), gap, torch.special.entr(used).sum(-1).mean().item())


class Shuffled:
    """Denoiser and error predictor as seen through a fixed shuffle of the positions, with every row counted."""

    def __init__(self, inside, place: Int[Tensor, "L"]):
        self.inside, self.place, self.back = inside, place, place.argsort()
        self.V, self.length, self.rows = inside.V, inside.length, 0

    def hidden(self, z: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L D"]:
        self.rows += len(z)
        return self.inside.hidden(z[:, self.back], t)[:, self.place]

    def logits(self, h: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        return self.inside.logits(h)

    def __call__(self, z: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L V"]:
        return self.logits(self.hidden(z, t))

    def error_logits(self, draft: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        self.rows += len(draft)
        return self.inside.error_logits(draft[:, self.back])[:, self.place]


def ex10_5(denoiser, predictor, language, sentences: int = 1000) -> Check:
    """The check for `my_sampler(denoiser, error_predictor, shape, generator) -> Sample`, under a trained denoiser and a
    predictor trained for it.
    """
    shape, place = (sentences, language.length), torch.randperm(language.length, generator=seeded(5))

    @cache
    def limits() -> Figures:
        """What ancestral sampling breaks in as many calls, and how various true sentences are."""
        plain = sample_masked(denoiser, ancestral(CALLS), (2000, shape[1]), generator=seeded(1)).tokens
        truth = language.sample(sentences, generator=seeded(2))
        return Figures(measure(plain, language).broken, 0.0, measure(truth, language).spread)

    @torch.no_grad()
    def test(my_sampler):
        check_words_are_the_networks(my_sampler, language)
        networks = Shuffled(denoiser, place), Shuffled(predictor, place)
        sample = my_sampler(*networks, shape, seeded(0))
        check_sample(sample, shape, language.V)
        check_calls(sample, sum(network.rows for network in networks) / sentences)
        found, limit = measure(sample.tokens[:, place.argsort()], language), limits()
        check_variety(found, limit.spread)
        check_broken(found.broken, limit.broken)
        check.praise = (
            f"{found.broken:.1%} of your sentences are broken, {limit.broken:.1%} with ancestral({CALLS}); the right"
            f" ones are {found.gap:+.2f} nats likelier than true ones."
        )

    check = Check("10.5", test=test, hints=HINTS, reference=reference)
    return check


class Indifferent:
    """An error predictor that finds nothing."""

    def __init__(self, V: int, length: int):
        self.V, self.length = V, length

    def error_logits(self, draft: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        return torch.zeros(draft.shape)


def check_words_are_the_networks(my_sampler, language):
    """A network that is certain of one nonsense sentence must be believed."""
    nonsense = torch.arange(language.length) * 7 % language.V
    certain = 1e3 * torch.nn.functional.one_hot(nonsense, language.V).double()
    spy = Spy(lambda z: certain[: z.shape[1]].expand(len(z), -1, -1), language.V, language.length)
    sample = my_sampler(spy, Indifferent(language.V, language.length), (3, language.length), seeded(0))
    assert spy.asked, "Your sampler never asks the denoiser that it is given: use that one, no other."
    check_sample(sample, (3, language.length), language.V)
    assert torch.equal(sample.tokens, nonsense.expand(3, -1)), (
        "Every word must be drawn from what the denoiser says there. Given one that is certain of every word, your"
        " sampler wrote others."
    )


def reference(denoiser, error_predictor, shape, generator=None):
    """Six drafts with ever fewer words taken back: at random first, where a second call would be wasted, then by the
    predictor.
    """
    z = torch.full(shape, denoiser.V)
    for step, masks in enumerate((10, 8, 6, 4, 2, 0)):
        t = (z == denoiser.V).float().mean(1)
        guess = draw(denoiser(z, t).flatten(0, 1), generator).view(shape)
        z = torch.where(z == denoiser.V, guess, z)
        score = error_predictor.error_logits(z) if step in (3, 4) else torch.zeros(shape)
        z = z.masked_fill(gumbel_top_k(score, torch.full(shape[:1], masks), 1.0, z >= 0, generator), denoiser.V)
    return Sample(z, torch.full(shape[:1], 8))


HINTS = [
    "A guided step costs two calls. Where almost everything is taken back anyway, the second one buys nothing.",
    "random_remask is free and keeps the variety. Let it draft, and use the predictor in the last steps only.",
    "Write the loop yourself: draft, score, take back with gumbel_top_k. Six drafts with 10, 8, 6, 4, 2 and 0 masks"
    " left, the predictor asked after the fourth and the fifth, are eight calls.",
]
