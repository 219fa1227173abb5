"""How many words can be read from noisy embeddings: against closed forms, brute force and the limits."""

import math
from itertools import product

import pytest
import torch

from difflm_core.data import toy_language
from difflm_core.oracle import EmbeddingEvidence, HiddenMarkovLanguage, guessed_blind, recoverable, useless_steps
from difflm_core.oracle.recoverable import read_alone
from difflm_core.processes import Cosine, CosineBeta, ShiftedCosine, Sqrt, time_of


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def random_language(seed, S=3, V=4, L=3):
    rows = torch.rand(1 + S + S, max(S, V), generator=seeded(seed), dtype=torch.float64) + 0.05
    stochastic = [part / part.sum(-1, keepdim=True) for part in (rows[:1, :S], rows[1 : 1 + S, :S], rows[1 + S :, :V])]
    return HiddenMarkovLanguage(stochastic[0][0], stochastic[1], stochastic[2], list("abcd")[:V], L)


def coin(p):
    """One-word texts, "a" with probability p."""
    emission = torch.tensor([[p, 1 - p]], dtype=torch.float64)
    return HiddenMarkovLanguage(torch.ones(1), torch.ones(1, 1), emission, ["a", "b"], 1)


@pytest.mark.parametrize("p", [0.5, 0.8])
def test_two_words_one_place_is_the_textbook_test_between_two_bells(p):
    """Right with probability p Phi(d/2 + r/d) + (1 - p) Phi(d/2 - r/d), d = distance / noise, r = log-odds."""
    embeddings, schedule, times = torch.tensor([[0.0, 1.0], [1.0, -1.0]]), ShiftedCosine(2.0), torch.tensor([0.2, 0.6])
    found = recoverable(coin(p), embeddings, schedule, times, 10_000, seeded(0))
    alpha, bell = schedule.alpha(times.double()), torch.distributions.Normal(0.0, 1.0)
    d, r = (alpha / (1 - alpha)).sqrt() * math.sqrt(5), math.log(p / (1 - p))
    expected = p * bell.cdf(d / 2 + r / d) + (1 - p) * bell.cdf(d / 2 - r / d)
    assert ((found.alone - expected).abs() < 4 * found.alone_error).all()
    assert (found.alone_error < 4e-3).all()
    torch.testing.assert_close(found.context, found.alone)  # one place has no context


def test_the_lone_reader_is_bayes_rule_over_all_texts():
    """read_alone(i) = sum over texts of p(x) q(z_i | x_i), normalised."""
    language, embeddings, t = random_language(1), torch.randn(4, 2, generator=seeded(2)), torch.full((5,), 0.4)
    z = torch.randn(5, 3, 2, generator=seeded(3), dtype=torch.float64)
    alpha = Cosine().alpha(t[0].double())
    texts = torch.tensor(list(product(range(4), repeat=3)))
    weight = language.log_prob(texts).exp()
    by_hand = torch.zeros(5, 3, 4, dtype=torch.float64)
    for text, p in zip(texts, weight, strict=True):
        gap = (z - alpha.sqrt() * embeddings.double()[text]).square().sum(-1)  # (5, 3)
        for i, word in enumerate(text):
            by_hand[:, i, word] += p * torch.exp(-gap[:, i] / (2 * (1 - alpha)))
    by_hand /= by_hand.sum(-1, keepdim=True)
    torch.testing.assert_close(read_alone(language, z, t, EmbeddingEvidence(embeddings, Cosine())), by_hand)


def test_the_expected_share_is_the_share_of_right_guesses():
    language, embeddings, schedule = toy_language(), torch.randn(114, 8, generator=seeded(0)), Sqrt()
    curve = recoverable(language, embeddings, schedule, torch.tensor([0.4]), 300, seeded(1))
    x, t = language.sample(300, generator=seeded(2)), torch.full((300,), 0.4, dtype=torch.float64)
    alpha = schedule.alpha(t)[:, None, None]
    z = alpha.sqrt() * embeddings.double()[x] + (1 - alpha).sqrt() * torch.randn(
        300, 12, 8, generator=seeded(3), dtype=torch.float64
    )
    right = (language.posterior(z, t, EmbeddingEvidence(embeddings, schedule)).argmax(-1) == x).double().mean(-1)
    gap = (right.mean() - curve.context[0]).abs()
    assert gap < 4 * (right.std() ** 2 / 300 + curve.context_error[0] ** 2).sqrt()


def test_context_helps_in_between_and_both_readers_agree_at_the_ends():
    language, times = toy_language(), torch.tensor([0.01, 0.3, 0.5, 1.0])
    curve = recoverable(language, torch.randn(114, 4, generator=seeded(0)), CosineBeta(), times, 32, seeded(1))
    assert (curve.context[1:3] > curve.alone[1:3] + 0.01).all()
    assert (curve.context.diff() < 0).all() and (curve.alone.diff() < 0).all()
    assert curve.context[0] > 1 - 1e-9 and curve.alone[0] > 1 - 1e-9
    for part in (curve.context, curve.alone):  # alpha_1 is about 1e-33: the guess is blind
        assert part[-1].item() == pytest.approx(guessed_blind(language), abs=1e-9)


def test_only_alpha_matters_not_the_schedule():
    language, embeddings = random_language(4), torch.randn(4, 3, generator=seeded(5))
    times = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    same = time_of(ShiftedCosine(5.0), CosineBeta().alpha(times))
    one = recoverable(language, embeddings, CosineBeta(), times, 20, seeded(6))
    other = recoverable(language, embeddings, ShiftedCosine(5.0), same, 20, seeded(6))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_useless_steps_of_straight_lines():
    times = torch.tensor([0.25, 0.5, 0.75, 1.0])
    easy, noisy = useless_steps(times, torch.tensor([1.0, 1.0, 0.2, 0.2]), 0.2, 0.1)
    assert easy == pytest.approx(0.5 + 0.25 * 0.1 / 0.8) and noisy == pytest.approx(0.25 + 0.25 * 0.1 / 0.8)
    falling = useless_steps(times, 1 - 0.8 * times, 0.2, 0.08)  # from 1 at t = 0 straight to blind at t = 1
    assert falling.too_easy == pytest.approx(0.1) and falling.too_noisy == pytest.approx(0.1)
    assert useless_steps(times, torch.ones(4), 0.2) == (1.0, 0.0)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"embeddings": torch.zeros(3, 2)}, r"must be \(4, D\)"),
        ({"texts": 1}, "at least 2 texts"),
        ({"times": torch.tensor([0.0])}, "alpha_t < 1"),
        ({"times": torch.tensor([1.5])}, "outside|must lie in"),
    ],
)
def test_bad_input_is_named(change, message):
    good = {"embeddings": torch.eye(4), "schedule": CosineBeta(), "times": torch.tensor([0.5]), "texts": 4}
    with pytest.raises(ValueError, match=message):
        recoverable(random_language(0), **(good | change))
    with pytest.raises(ValueError, match="must rise"):
        useless_steps(torch.tensor([0.5, 0.4]), torch.tensor([1.0, 0.5]), 0.2)
