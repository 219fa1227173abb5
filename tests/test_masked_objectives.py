"""The masked bound, exactly: sums over all texts, all masks and a quadrature over t go through the objectives under
test.
"""

import math

import pytest
import torch
from enumerable import (
    FixedNoise,
    TinyLanguage,
    all_masks,
    all_sequences,
    gauss_legendre,
    random_denoiser,
)

from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives import (
    autoregressive_nll,
    independent_times,
    masked_nelbo,
    masked_nelbo_by_count,
    masked_nelbo_discrete,
    stratified_times,
)
from difflm_core.processes import Cosine, CosineBeta, Linear, ShiftedCosine, hybrid, masked

V, L = 3, 4
LANGUAGE = TinyLanguage(V, L)
SCHEDULES = [Linear(), Cosine(), ShiftedCosine(), ShiftedCosine(3.0), CosineBeta()]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
DENOISERS = {
    "exact": LANGUAGE.denoiser(),
    "arbitrary": random_denoiser(V, L),
    "with time": random_denoiser(V, L, with_time=True),
}
every_denoiser = pytest.mark.parametrize("denoiser", DENOISERS.values(), ids=DENOISERS.keys())
time_free = pytest.mark.parametrize("denoiser", list(DENOISERS.values())[:2], ids=["exact", "arbitrary"])


def pairs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Every text with every pattern of masks: x, z and p(x), (V^L 2^L, L)."""
    texts, masks = LANGUAGE.texts, all_masks(L)
    x = texts.repeat_interleave(len(masks), 0)
    z = torch.where(masks.repeat(len(texts), 1), V, x)
    return x, z, LANGUAGE.p.repeat_interleave(len(masks))


def q_of(process, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """q(z_t | x) of a pattern of masks."""
    alpha, n = process.schedule.alpha(t), (z == V).sum(1)
    return alpha ** (L - n) * (1 - alpha) ** n


def expected_nelbo(process, denoiser, nodes: int = 80) -> float:
    """The expectation of `masked_nelbo` in nats per text: all texts, all masks, Gauss-Legendre over t."""
    (x, z, p), total = pairs(), 0.0
    for t, weight in zip(*gauss_legendre(nodes)):
        t = t.expand(len(x))
        loss = masked_nelbo(FixedNoise(process, z), denoiser, x, t).sum(1)
        total += (weight * p * q_of(process, z, t) * loss).sum().item()
    return total


def expected_discrete(process, denoiser, T: int) -> float:
    (x, z, p), total = pairs(), 0.0
    for step in range(1, T + 1):
        inside = torch.full((len(x),), (step - 0.5) / T, dtype=torch.float64)  # any t inside the step stands for it
        loss = masked_nelbo_discrete(FixedNoise(process, z), denoiser, x, inside, T).sum(1)
        total += (p * q_of(process, z, torch.full_like(inside, step / T)) * loss).sum().item() / T
    return total


def expected_by_count(process, denoiser, monkeypatch, nodes: int = 1) -> float:
    """All counts n, all patterns of n masks, and the n-th smallest uniform number m by quadrature under its law Beta(n,
    L - n + 1).

    m = sin^2(pi r / 2) smooths the square roots that inverting a cosine has at both ends. One node is enough where time
    does not matter.
    """
    total, masks = 0.0, all_masks(L)
    x = LANGUAGE.texts
    for mask in masks[masks.any(1)]:
        n = int(mask.sum())
        t = torch.full((len(x),), (n - 0.5) / L, dtype=torch.float64)
        for r, weight in zip(*(part.tolist() for part in gauss_legendre(nodes))):
            m, slope = math.sin(math.pi / 2 * r) ** 2, math.pi / 2 * math.sin(math.pi * r)
            density = m ** (n - 1) * (1 - m) ** (L - n) * n * math.comb(L, n) * slope if nodes > 1 else 1.0
            u = torch.where(mask, m / 2, (1 + m) / 2).double()
            u[mask.nonzero()[0, 0]] = m  # the n-th smallest
            with monkeypatch.context() as patch:
                patch.setattr(torch, "rand", lambda *shape, u=u, **_: u.expand(*shape))
                loss = masked_nelbo_by_count(process, denoiser, x, t)
            assert bool(((loss != 0) <= mask).all())
            total += weight * density * (LANGUAGE.p * loss.sum(1)).sum().item() / math.comb(L, n) / L
    return total


# --- (a) the exact denoiser's bound is the entropy --------------------------------------------------------------------


@every_schedule
def test_exact_denoiser_reaches_the_entropy(schedule):
    assert expected_nelbo(masked(V, schedule), DENOISERS["exact"]) == pytest.approx(LANGUAGE.entropy(), abs=1e-10)


def test_any_other_denoiser_stays_above():
    assert expected_nelbo(masked(V), DENOISERS["arbitrary"]) > LANGUAGE.entropy() + 0.1


@pytest.mark.parametrize("estimator, steps", [
    (masked_nelbo, None),
    (masked_nelbo_by_count, None),
    (lambda process, denoiser, x, t, generator: masked_nelbo_discrete(process, denoiser, x, t, 8, generator), 8),
], ids=["continuous", "by count", "8 steps"])  # fmt: skip
def test_random_draws_agree_with_the_sum(estimator, steps):
    """The code as it runs, float32 times, random masks and all: the mean within 4 standard errors."""
    generator, process, denoiser = torch.Generator().manual_seed(0), masked(V), DENOISERS["exact"]
    x = LANGUAGE.sample(20_000, generator)
    losses = estimator(process, denoiser, x, stratified_times(len(x), generator), generator).sum(1)
    expected = expected_discrete(process, denoiser, steps) if steps else LANGUAGE.entropy()
    assert abs(losses.mean() - expected) < 4 * losses.std() / len(x) ** 0.5


# --- (b) masked rows only = full logits -------------------------------------------------------------------------------


def full_logits_nelbo(process, logits: torch.Tensor, x, z_t, t):
    """MDLM as its paper writes it: V + 1 outputs; SUBS edits them; gather everywhere; weigh."""
    mask = process.mask_id
    logits = logits.clone()
    logits[..., mask] = -torch.inf  # zero masking probability
    log_p = logits - logits.logsumexp(-1, keepdim=True)
    visible = z_t != mask
    log_p = torch.where(visible[..., None], -torch.inf, log_p)  # carry-over: a visible token is certain
    log_p = torch.where(visible[..., None] & (torch.arange(mask + 1) == z_t[..., None]), 0.0, log_p)
    weight = -process.schedule.dalpha(t) / (1 - process.schedule.alpha(t))
    return -weight[:, None] * log_p.gather(-1, x[..., None])[..., 0]


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=str)
@pytest.mark.parametrize("time_conditioning", [False, True])
def test_masked_rows_equal_full_logits(dtype, tolerance, time_conditioning):
    torch.manual_seed(0)
    vocabulary, length, B = 37, 12, 6
    config = TransformerConfig(vocabulary, length, width=16, layers=2, heads=2, time_conditioning=time_conditioning)
    model, process = Transformer(config).to(dtype), masked(vocabulary)
    for block in model.blocks if time_conditioning else []:
        torch.nn.init.normal_(block.modulation.weight, std=0.3)
    x, t = torch.randint(vocabulary, (B, length)), torch.linspace(0.05, 1, B, dtype=dtype)
    z_t = process.corrupt(x, t, torch.Generator().manual_seed(1))

    ours = masked_nelbo(FixedNoise(process, z_t), model, x, t)
    our_gradients = torch.autograd.grad(ours.mean(), model.parameters())
    mask_column = torch.randn(B, length, 1, dtype=dtype)  # what a head of V + 1 rows would say about the mask
    theirs = full_logits_nelbo(process, torch.cat([model(z_t, t), mask_column], -1), x, z_t, t)
    their_gradients = torch.autograd.grad(theirs.mean(), model.parameters())

    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    assert bool((ours[z_t != vocabulary] == 0).all()) and ours.dtype == dtype
    for mine, other in zip(our_gradients, their_gradients):
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


def test_head_is_asked_for_masked_rows_only():
    class Spy:
        V, rows = 5, None

        def hidden(self, z_t, t):
            return torch.zeros(*z_t.shape, 4, requires_grad=True)

        def logits(self, h):
            self.rows = len(h)
            return torch.zeros(len(h), 5) + h.sum()

    spy, process = Spy(), masked(5)
    x = torch.zeros(8, 16, dtype=torch.long)
    loss = masked_nelbo(process, spy, x, torch.full((8,), 0.25), torch.Generator().manual_seed(0))
    assert spy.rows == int((loss > 0).sum()) < 64


def test_nothing_masked_is_zero_and_still_differentiable():
    model, x = Transformer(TransformerConfig(5, 4, width=8, layers=1, heads=2)), torch.zeros(2, 4, dtype=torch.long)
    loss = masked_nelbo(masked(5), model, x, torch.zeros(2))
    loss.sum().backward()
    assert bool((loss == 0).all()) and bool((model.head.weight.grad == 0).all())


def test_half_precision_trunk_gives_a_float32_loss():
    model, x = Transformer(TransformerConfig(5, 4, width=8, layers=1, heads=2)), torch.zeros(2, 4, dtype=torch.long)
    with torch.autocast("cpu", torch.bfloat16):
        loss = masked_nelbo(masked(5), model, x, torch.ones(2))
    assert loss.dtype == torch.float32 and bool(loss.isfinite().all())


# --- (c) T steps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=str)
def test_discrete_bound_falls_to_the_continuous_one_like_1_over_T(schedule):
    process, denoiser = masked(V, schedule), DENOISERS["exact"]
    limit = expected_nelbo(process, denoiser)
    gaps = torch.tensor([expected_discrete(process, denoiser, T) - limit for T in (1, 2, 4, 8, 16, 32, 64)])
    assert bool((gaps > 0).all()) and bool((gaps.diff() < 0).all())
    halving = gaps[:-1] / gaps[1:]
    assert halving[-1].item() == pytest.approx(2, abs=0.05)


def test_one_step_treats_all_tokens_as_independent():
    """T = 1 is the sum of the entropies of the single positions."""
    one_hot = torch.nn.functional.one_hot(LANGUAGE.texts, V).double()
    marginals = torch.einsum("k,klv->lv", LANGUAGE.p, one_hot)
    bound = expected_discrete(masked(V), DENOISERS["exact"], 1)
    assert bound == pytest.approx(torch.special.entr(marginals).sum().item(), abs=1e-12)


def test_discrete_times_are_rounded_up_to_the_grid():
    process, denoiser = masked(V), random_denoiser(V, L, with_time=True)
    x = torch.zeros(5, L, dtype=torch.long)
    masked_nelbo_discrete(process, denoiser, x, torch.tensor([0.0, 0.01, 0.25, 0.2501, 1.0]), 4)
    torch.testing.assert_close(denoiser.times_shown[-1], torch.tensor([0.25, 0.25, 0.25, 0.5, 1.0]))


# --- (d) an exact number of masks -------------------------------------------------------------------------------------


@every_schedule
@time_free
def test_count_form_has_the_same_expectation(schedule, denoiser, monkeypatch):
    process = masked(V, schedule)
    by_count = expected_by_count(process, denoiser, monkeypatch)
    assert by_count == pytest.approx(expected_nelbo(process, denoiser), abs=1e-9)


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), ShiftedCosine()], ids=str)
def test_count_form_shows_a_time_conditioned_network_the_right_times(schedule, monkeypatch):
    """The time must follow Beta(n, L - n + 1) in 1 - alpha, or the two expectations differ."""
    process, denoiser = masked(V, schedule), DENOISERS["with time"]
    by_count = expected_by_count(process, denoiser, monkeypatch, nodes=24)
    assert by_count == pytest.approx(expected_nelbo(process, denoiser), abs=1e-9)


def test_count_form_masks_exactly_n_of_L_with_weight_L_over_n():
    process, generator = masked(V), torch.Generator().manual_seed(0)
    uniform_guess = random_denoiser(V, 6)
    uniform_guess.table = torch.zeros_like(uniform_guess.table)
    x, t = torch.zeros(600, 6, dtype=torch.long), stratified_times(600, generator)
    loss = masked_nelbo_by_count(process, uniform_guess, x, t, generator)
    n = (loss > 0).sum(1)
    assert torch.bincount(n, minlength=7).tolist() == [0] + 6 * [100]  # stratified times: each count equally often
    torch.testing.assert_close(loss.sum(1), torch.full_like(loss[:, 0], 6 * math.log(V)))


def test_count_form_times_follow_the_beta_law():
    """Mean n / (L + 1) of the n-th smallest of L uniform numbers, in 1 - alpha, for a schedule other than the linear
    one.
    """
    process, denoiser = masked(V, Cosine()), random_denoiser(V, L, with_time=True)
    generator = torch.Generator().manual_seed(1)
    for n in range(1, L + 1):
        t = torch.full((20_000,), (n - 0.5) / L)
        masked_nelbo_by_count(process, denoiser, torch.zeros(len(t), L, dtype=torch.long), t, generator)
        level = 1 - process.schedule.alpha(denoiser.times_shown[-1])
        assert level.mean().item() == pytest.approx(n / (L + 1), abs=0.006)
        assert level.var().item() == pytest.approx(n * (L + 1 - n) / (L + 1) ** 2 / (L + 2), rel=0.1)


# --- (e) the schedule does not matter ---------------------------------------------------------------------------------


@time_free
def test_the_schedule_does_not_change_the_expectation(denoiser):
    bounds = [expected_nelbo(masked(V, schedule), denoiser) for schedule in SCHEDULES]
    assert max(bounds) - min(bounds) < 1e-9


def test_it_does_change_it_for_a_time_conditioned_network():
    linear, cosine = (expected_nelbo(masked(V, s), DENOISERS["with time"]) for s in (Linear(), Cosine()))
    assert abs(linear - cosine) > 1e-3


# --- (f) SEDD ---------------------------------------------------------------------------------------------------------


@every_schedule
@every_denoiser
def test_score_entropy_of_converted_scores_is_the_same_loss(schedule, denoiser):
    """SEDD's absorbing loss (Lou et al. 2024) with log s_y = log p(y) + log 1/(e^sigma - 1), alpha = e^-sigma: equal at
    every position.
    """
    process, (x, z, _) = masked(V, schedule), pairs()
    t = torch.rand(len(x), generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 0.98 + 0.01
    alpha, dalpha = schedule.alpha(t), schedule.dalpha(t)
    sigma, dsigma = -alpha.log(), -dalpha / alpha
    ratio = (1 / torch.expm1(sigma))[:, None]  # (B, 1)
    log_s = denoiser.logits(denoiser.hidden(z, t)).log_softmax(-1) + ratio[..., None].log()  # (B, L, V)
    log_s_x = log_s.gather(-1, x[..., None])[..., 0]
    score_entropy = log_s.exp().sum(-1) - ratio * log_s_x + ratio * (ratio.log() - 1)
    sedd = dsigma[:, None] * score_entropy * (z == V)
    torch.testing.assert_close(masked_nelbo(FixedNoise(process, z), denoiser, x, t), sedd, rtol=1e-9, atol=1e-9)


# --- (g) times --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("B", [1, 2, 7, 64])
def test_stratified_times_fill_every_slice_once(B):
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        t = stratified_times(B, generator).sort().values
        edges = torch.arange(B) / B
        assert t.shape == (B,) and bool((t >= edges - 1e-6).all()) and bool((t <= edges + 1 / B + 1e-6).all())


def test_stratified_times_come_in_random_order_and_are_uniform_in_every_row():
    generator = torch.Generator().manual_seed(1)
    many = torch.stack([stratified_times(8, generator) for _ in range(4000)])  # (4000, 8)
    assert len({tuple((row * 8).long().tolist()) for row in many[:50]}) > 45
    torch.testing.assert_close(many.mean(0), torch.full((8,), 0.5), rtol=0, atol=4 * 0.289 / 4000**0.5)
    torch.testing.assert_close(many.var(0), torch.full((8,), 1 / 12), rtol=0, atol=0.004)


def test_stratified_means_are_unbiased_and_quieter():
    generator = torch.Generator().manual_seed(2)
    square = lambda times: torch.stack([times(16, generator).square().mean() for _ in range(2000)]).double()  # noqa: E731
    stratified, independent = square(stratified_times), square(independent_times)
    for means in (stratified, independent):
        assert abs(means.mean().item() - 1 / 3) < 4 * means.std().item() / 2000**0.5
    assert stratified.std() < independent.std() / 5


# --- (h) the autoregressive twin --------------------------------------------------------------------------------------


def test_autoregressive_nll_is_a_normalised_chain_rule():
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(V, L, width=8, layers=2, heads=2, causal=True)).double()
    torch.nn.init.normal_(model.head.weight, std=1.0)
    texts = all_sequences(V, L)
    nll = autoregressive_nll(model, texts)
    assert nll.shape == texts.shape and nll.dtype == torch.float64
    assert (-nll.sum(1)).exp().sum().item() == pytest.approx(1, abs=1e-12)
    for i in range(L):  # position by position, with only the past given
        seen = torch.cat([torch.full((len(texts), 1), V), texts[:, :i]], 1)
        expected = -model(seen)[:, -1].log_softmax(-1).gather(1, texts[:, i : i + 1])[:, 0]
        torch.testing.assert_close(nll[:, i], expected, rtol=0, atol=1e-12)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [
    masked_nelbo, masked_nelbo_by_count, lambda p, d, x, t: masked_nelbo_discrete(p, d, x, t, 10),
], ids=["continuous", "by count", "discrete"])  # fmt: skip
def test_bad_times_and_tokens_are_refused(estimator):
    process, denoiser, x = masked(V), DENOISERS["exact"], torch.zeros(1, L, dtype=torch.long)
    for t in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            estimator(process, denoiser, x, torch.tensor([t]))
    for token in (-1, V):  # the mask is no text
        with pytest.raises(ValueError, match=r"0\.\.2"):
            estimator(process, denoiser, torch.full((1, L), token), torch.tensor([0.5]))


def test_no_steps_and_bidirectional_twins_are_refused():
    x, exact = torch.zeros(1, L, dtype=torch.long), DENOISERS["exact"]
    with pytest.raises(ValueError, match="T = 0"):
        masked_nelbo_discrete(masked(V), exact, x, torch.tensor([0.5]), 0)
    with pytest.raises(ValueError, match="causal"):
        autoregressive_nll(Transformer(TransformerConfig(V, L, width=8, layers=1, heads=2)), x)
    with pytest.raises(ValueError, match="masking only"):
        masked_nelbo(hybrid(V, 0.2), exact, x, torch.tensor([0.5]))
