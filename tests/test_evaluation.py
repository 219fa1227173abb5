"""Estimates with their uncertainty, and sample statistics worked by hand."""

import math

import pytest
import torch
from enumerable import TinyLanguage, index_of

from difflm_core.evaluation import Estimate, distinct_n, estimate_nelbo, judge_samples, unigram_entropy
from difflm_core.objectives import masked_nelbo
from difflm_core.processes import masked


def counting_nelbo():
    """1, 2, 3, ... nats in successive calls, whatever the text."""
    calls = iter(range(1, 100))
    return lambda x, t, generator: torch.full(x.shape, float(next(calls)))


def test_mean_and_standard_error_by_hand():
    estimate = estimate_nelbo(counting_nelbo(), [torch.zeros(2, 3, dtype=torch.long)], draws=4)
    assert estimate.mean == pytest.approx(2.5) and estimate.draws == 4 and estimate.tokens == 6
    assert estimate.standard_error == pytest.approx(math.sqrt(5 / 3) / 2)  # variance of 1, 2, 3, 4 is 5/3, over 4 draws


def test_unequal_batches_count_by_their_tokens():
    nelbo, sizes = counting_nelbo(), [torch.zeros(1, 4, dtype=torch.long), torch.zeros(3, 4, dtype=torch.long)]
    estimate = estimate_nelbo(nelbo, sizes, draws=2)
    assert estimate.tokens == 16 and estimate.mean == pytest.approx(((1 + 3 * 2) / 4 + (3 + 3 * 4) / 4) / 2)


def test_noise_of_known_size_is_found():
    def noisy(x, t, generator):
        return 2 + 3 * torch.randn(x.shape, generator=generator)

    x, seed = torch.zeros(8, 16, dtype=torch.long), torch.Generator().manual_seed
    estimates = [estimate_nelbo(noisy, [x], 16, seed(i)) for i in range(200)]
    means, errors = (torch.tensor([getattr(e, name) for e in estimates]) for name in ("mean", "standard_error"))
    true_error = 3 / math.sqrt(8 * 16 * 16)
    assert errors.square().mean().sqrt().item() == pytest.approx(true_error, rel=0.06)
    assert means.std().item() == pytest.approx(true_error, rel=0.2)
    assert means.mean().item() == pytest.approx(2, abs=0.02)
    inside = ((means - 2).abs() < 2 * errors).float().mean().item()
    assert 0.88 < inside < 0.99  # 95 % of a normal law, a little less with 16 draws


def test_times_are_stratified_and_fresh():
    seen = []

    def spy(x, t, generator):
        seen.append(t.sort().values)
        return torch.zeros(x.shape)

    estimate_nelbo(spy, [torch.zeros(8, 2, dtype=torch.long)], 2, torch.Generator().manual_seed(0))
    for t in seen:
        assert (t * 8).floor().tolist() == list(range(8))
    assert not torch.equal(*seen)


def test_a_function_of_batches_is_called_once_a_draw():
    calls = []

    def batches():
        calls.append(1)
        return [torch.zeros(2, 2, dtype=torch.long)]

    estimate_nelbo(counting_nelbo(), batches, draws=3)
    assert len(calls) == 3


def test_the_seed_decides():
    language = TinyLanguage()
    nelbo = lambda x, t, g: masked_nelbo(masked(language.V), language.denoiser(), x, t, g)  # noqa: E731
    seed = torch.Generator().manual_seed
    first, again, other = (estimate_nelbo(nelbo, [language.texts], 3, seed(i)) for i in (0, 0, 1))
    assert first == again != other


def test_exact_denoiser_is_estimated_at_the_entropy():
    language, generator = TinyLanguage(), torch.Generator().manual_seed(0)
    nelbo = lambda x, t, g: masked_nelbo(masked(language.V), language.denoiser(), x, t, g)  # noqa: E731
    estimate = estimate_nelbo(nelbo, lambda: [language.sample(500, generator)], 40, generator)
    assert abs(estimate.mean - language.entropy() / language.length) < 4 * estimate.standard_error < 0.05


def test_units_and_words():
    estimate = Estimate(math.log(8), 0.01, 4, 1200)
    assert estimate.perplexity == pytest.approx(8) and estimate.bits == pytest.approx(3)
    assert str(estimate) == "2.0794 ± 0.0100 nats/token (4 draws of 1,200 tokens)"


def test_too_little_is_refused():
    x = torch.zeros(1, 2, dtype=torch.long)
    with pytest.raises(ValueError, match="at least 2 draws"):
        estimate_nelbo(counting_nelbo(), [x], draws=1)
    with pytest.raises(ValueError, match="nothing to evaluate"):
        estimate_nelbo(counting_nelbo(), [])
    with pytest.raises(ValueError, match="walked once"):
        estimate_nelbo(counting_nelbo(), iter([x]))


# --- samples ----------------------------------------------------------------------------------------------------------


def test_distinct_n_by_hand():
    tokens = torch.tensor([[1, 2, 1, 2], [1, 2, 3, 3]])
    assert distinct_n(tokens, 1) == 3 / 8
    assert distinct_n(tokens, 2) == 4 / 6  # 12 21 12 | 12 23 33
    assert distinct_n(tokens, 3) == 4 / 4  # 121 212 | 123 233
    assert distinct_n(tokens, 4) == 1
    for n in (0, 5):
        with pytest.raises(ValueError, match=f"no {n}-grams"):
            distinct_n(tokens, n)


def test_unigram_entropy_by_hand():
    assert unigram_entropy(torch.tensor([[5, 5, 5, 5]])) == 0
    assert unigram_entropy(torch.tensor([[0, 1, 2, 3]])) == pytest.approx(math.log(4))
    mixed = torch.tensor([[5, 5, 5, 5], [0, 0, 1, 1], [0, 1, 1, 1]])
    assert unigram_entropy(mixed) == pytest.approx((math.log(2) + 0.25 * math.log(4) + 0.75 * math.log(4 / 3)) / 3)


def test_judged_by_an_exact_language():
    language, generator = TinyLanguage(V=4, length=4), torch.Generator().manual_seed(0)
    report = judge_samples(language.sample(20_000, generator), lambda x: language.p.log()[index_of(x, 4)])
    assert math.log(report.perplexity) == pytest.approx(language.entropy() / 4, abs=0.01)
    assert report.impossible == 0 and report.samples == 20_000


def test_impossible_samples_are_counted_and_left_out():
    tokens = torch.tensor([[0, 1, 2], [0, 0, 0], [2, 2, 2], [1, 0, 1]])
    report = judge_samples(tokens, lambda x: torch.tensor([-3.0, -6.0, -math.inf, -3.0]))
    assert report.perplexity == pytest.approx(math.exp(4 / 3)) and report.impossible == 0.25
    assert report.distinct_1 == 3 / 12 and report.distinct_2 == 5 / 8  # 01 12 | 00 00 | 22 22 | 10 01
    assert report.distinct_3 == 1
    assert str(report).startswith("judge perplexity 3.79 (impossible: 25.0%), unigram entropy")
    hopeless = judge_samples(tokens, lambda x: torch.full((4,), -math.inf))
    assert hopeless.perplexity == math.inf and hopeless.impossible == 1


def test_short_and_empty_samples():
    report = judge_samples(torch.tensor([[1], [2]]), lambda x: torch.tensor([-1.0, -1.0]))
    assert report.distinct_1 == 1 and math.isnan(report.distinct_2) and math.isnan(report.distinct_3)
    for tokens in (torch.zeros(0, 3, dtype=torch.long), torch.zeros(3, dtype=torch.long)):
        with pytest.raises(ValueError, match="not empty"):
            judge_samples(tokens, lambda x: torch.zeros(len(x)))
