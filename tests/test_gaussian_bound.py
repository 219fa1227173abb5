"""DDPM's and VDM's bounds against exact likelihoods. Means are sums over quadrature nodes, not draws: for Gaussian data
every term is a quadratic in (x, eps), for which three nodes per coordinate are exact.
"""

import itertools
import math
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy
import pytest
import torch

from difflm_core.objectives import (
    LossAwareTimes,
    best_variance,
    fixed_large,
    fixed_small,
    gaussian_hybrid_loss,
    gaussian_mse,
    gaussian_nelbo,
    gaussian_nelbo_continuous,
    gaussian_parts,
    gaussian_prior,
    interpolated,
    learned,
)
from difflm_core.objectives.gaussian import latent_times, reverse_term
from difflm_core.objectives.gaussian_continuous import reconstruction
from difflm_core.oracle import GaussianMixture, gaussian_data
from difflm_core.processes import (
    CosineBeta,
    GaussianProcess,
    LearnedLogSnr,
    Linear,
    LinearBeta,
    LinearLogSnr,
    Rescaled,
    ShiftedCosine,
    Sqrt,
    time_of,
)

NARROW, WIDE = gaussian_data([0.5], [[0.3]]), gaussian_data([0.0], [[2.0]])
PLANE = gaussian_data([0.3, -0.5], [[0.8, 0.5], [0.5, 0.6]])
SCHEDULES = [LinearBeta(), CosineBeta(), ShiftedCosine(), Linear(), Rescaled(Sqrt()), Sqrt()]


@dataclass(frozen=True)
class FixedNoise(GaussianProcess):
    """The same process, with noise of our choice."""

    eps: torch.Tensor | None = None

    def corrupt(self, x, t, generator=None):
        signal, noise = self.levels(t, x)
        return signal * x + noise * self.eps


def nll(data) -> float:
    """Exact -E log p(x) per dimension of Gaussian data."""
    return 0.5 * (math.log(2 * math.pi * math.e) + data.spectrum.log().mean().item())


def nodes(data):
    """(x, eps, weight) whose weighted means of quadratics are those of x ~ data, eps ~ N(0, I)."""
    D = data.means.shape[1]
    places, weights = torch.tensor([[-(3**0.5), 0, 3**0.5], [1 / 6, 2 / 3, 1 / 6]], dtype=torch.float64)
    index = torch.tensor(list(itertools.product(range(3), repeat=2 * D)))
    at = places[index]
    x = data.means[0] + at[:, :D] * data.spectrum[0].sqrt() @ data.axes[0].T
    return x, at[:, D:], weights[index].prod(1)


def over_steps(data, T):
    """The nodes once for every step, times in the middle of the steps, weights that sum to 1."""
    x, eps, weight = nodes(data)
    t = ((torch.arange(T, dtype=torch.float64) + 0.5) / T).repeat_interleave(len(x))
    return x.repeat(T, 1), eps.repeat(T, 1), t, weight.repeat(T) / T


def bound(data, schedule, T, variance=fixed_large, denoise=None):
    """E gaussian_nelbo per dimension, exactly."""
    steps = T if isinstance(T, int) else len(T)
    x, eps, t, weight = over_steps(data, steps)
    process = FixedNoise(schedule, eps)
    loss = gaussian_nelbo(process, denoise or data.denoiser(process), x, t, T, variance=variance)
    return (weight * loss.mean(1)).sum().item()


def best_of(data, schedule):
    process = GaussianProcess(schedule)
    return best_variance(lambda z_t, t: data.posterior(z_t, t, process)[1], process)


# --- the bound of the exact denoiser goes to the exact likelihood ---------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("data", [NARROW, WIDE, PLANE], ids=["narrow", "wide", "plane"])
def test_bound_approaches_the_likelihood_as_T_grows(schedule, data):
    gaps = [bound(data, schedule, T) - nll(data) for T in (10, 100, 1000)]
    assert gaps[0] > gaps[1] > gaps[2] > -1e-12 and gaps[2] < gaps[1] / 5
    if isinstance(schedule, (Sqrt, Rescaled)):  # very steep at the data, therefore slower
        assert gaps[2] < 5e-3 and (data is PLANE or bound(data, schedule, 10_000) - nll(data) < 1e-3)
    else:
        assert gaps[2] < 1e-3


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("T", [1, 3, 50])
def test_with_the_true_variance_no_step_is_too_long(schedule, T):
    """Gaussian data in one dimension: p(z_s | z_t) is then q(z_s | z_t). All that is left is L_T's mismatch: KL of the
    mixture of priors q(z_1) to N(0, 1), which is KL(N(sqrt(a) m, a v + 1 - a) || N(0, 1)).
    """
    alpha = GaussianProcess(schedule).alpha(torch.ones(1))[0].item()
    for data in (NARROW, WIDE):
        mean, variance = alpha**0.5 * data.means.item(), alpha * data.spectrum.item() + 1 - alpha
        marginal = 0.5 * (mean**2 + variance - 1 - math.log(variance))
        assert bound(data, schedule, T, best_of(data, schedule)) == pytest.approx(nll(data) + marginal, abs=1e-9)


def test_unit_normal_data_is_exact_with_beta():
    data = gaussian_data([0.0], [[1.0]])
    for T in (1, 7):
        assert bound(data, CosineBeta(), T) == pytest.approx(nll(data), abs=1e-9)


def test_beta_tilde_costs_a_constant_on_smooth_data():
    """Linear: sum of (1/i - log(1 + 1/i)) / 2 = Euler's gamma / 2 in the first steps, and L_0 at half of beta_1."""
    constant = 0.5772156649 / 2 + 0.5 * (math.log(0.5) + 1)
    for data in (NARROW, WIDE):
        gaps = [bound(data, Linear(), T, fixed_small) - nll(data) - constant for T in (100, 1000, 10_000)]
        assert abs(gaps[2]) < 3e-3 and abs(gaps[0]) > abs(gaps[1]) > abs(gaps[2])


def test_a_mixture_too():
    """No linear denoiser here. x on a fine grid, eps on Gauss-Hermite nodes."""
    data = GaussianMixture(torch.tensor([0.4, 0.6]), torch.tensor([[-1.0], [0.8]]), torch.tensor([[[0.09]], [[0.16]]]))
    x = torch.linspace(-3.2, 3.4, 67, dtype=torch.float64)[:, None]
    p = data.log_prob(x).softmax(0)
    exact = -(p * data.log_prob(x)).sum().item()
    places, weights = (torch.tensor(a) for a in numpy.polynomial.hermite_e.hermegauss(15))
    weights, gaps = weights / weights.sum(), []
    for T in (10, 100):
        total = 0.0
        for i in range(T):
            eps, rows = places.repeat(len(x))[:, None], x.repeat_interleave(15, 0)
            process, t = FixedNoise(CosineBeta(), eps), torch.full((len(rows),), (i + 0.5) / T, dtype=torch.float64)
            loss = gaussian_nelbo(process, data.denoiser(process), rows, t, T)[:, 0]
            total += (p.repeat_interleave(15) * weights.repeat(len(x)) * loss).sum().item() / T
        gaps.append(total - exact)
    assert 0 < gaps[1] < 0.02 and gaps[1] < gaps[0] / 5


def test_a_wrong_denoiser_costs_more():
    for wrong in (lambda z, t: 0.9 * z, lambda z, t: NARROW.denoiser(GaussianProcess(CosineBeta()))(z, t) + 0.1):
        assert bound(NARROW, CosineBeta(), 100, denoise=wrong) > bound(NARROW, CosineBeta(), 100) + 0.01


# --- parts -----------------------------------------------------------------------------------------------------------


def test_parts_are_the_terms_and_sum_to_the_bound():
    x, eps, weight = nodes(PLANE)
    process, T = FixedNoise(CosineBeta(), eps), 30
    parts = gaussian_parts(process, PLANE.denoiser(process), x, T)
    assert parts.prior.shape == (81,) and parts.steps.shape == (T - 1, 81) and parts.reconstruction.shape == (81,)
    torch.testing.assert_close(parts.nelbo, parts.prior + parts.reconstruction + parts.steps.sum(0))
    torch.testing.assert_close(parts.bits, parts.nelbo / math.log(2))
    assert (weight * parts.nelbo).sum().item() == pytest.approx(bound(PLANE, CosineBeta(), T), abs=1e-10)
    single = gaussian_parts(process, PLANE.denoiser(process), x, 1)
    assert single.steps.shape == (0, 81) and (weight * single.nelbo).sum().item() == pytest.approx(
        bound(PLANE, CosineBeta(), 1), abs=1e-10
    )


def test_terms_are_divergences_of_torch():
    """Each step against torch's KL of the two normal laws, L_0 against torch's density."""
    process, times = GaussianProcess(LinearBeta()), latent_times(5)
    g = torch.Generator().manual_seed(0)
    x, x_hat, z = (torch.randn(5, 2, 3, generator=g, dtype=torch.float64) for _ in range(3))
    step = torch.arange(5)
    for variance in (fixed_large, fixed_small):
        terms = reverse_term(process, x, x_hat, z, times, step, variance)
        s, t = times[:-1], times[1:]
        mean_q, small = process.posterior(z[1:], x[1:], s, t)
        mean_p, _ = process.posterior(z[1:], x_hat[1:], s, t)
        chosen = process.between(s, t)[1][:, None, None] if variance is fixed_large else small
        q, p = (torch.distributions.Normal(mean, level.sqrt()) for mean, level in ((mean_q, small), (mean_p, chosen)))
        torch.testing.assert_close(terms[1:], torch.distributions.kl_divergence(q, p))
        beta_1 = 1 - process.alpha(times[:1]).item()
        decoder = torch.distributions.Normal(x_hat[0], (beta_1 if variance is fixed_large else beta_1 / 2) ** 0.5)
        torch.testing.assert_close(terms[0], -decoder.log_prob(x[0]))


def test_with_beta_tilde_a_step_is_half_the_loss_of_snr():
    process, times = GaussianProcess(CosineBeta()), latent_times(8)
    g = torch.Generator().manual_seed(1)
    x, x_hat, z = (torch.randn(7, 3, generator=g, dtype=torch.float64) for _ in range(3))
    snr = process.log_snr(times).exp()
    terms = reverse_term(process, x, x_hat, z, times, torch.arange(1, 8), fixed_small)
    torch.testing.assert_close(terms, 0.5 * (snr[:-1] - snr[1:])[:, None] * (x - x_hat) ** 2)


def test_prior_and_its_warning():
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    short = GaussianProcess(LinearBeta(0.1, 2.0))
    alpha = short.alpha(torch.ones(1)).item()
    q = torch.distributions.Normal(alpha**0.5 * x, (1 - alpha) ** 0.5)
    with pytest.warns(UserWarning, match=r"does not reach noise: L_T is 0\.\d+ nats per dimension"):
        prior = gaussian_prior(short, x)
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(torch.zeros(()).double(), 1.0))
    torch.testing.assert_close(prior, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gaussian_prior(GaussianProcess(CosineBeta()), x).abs().max() < 1e-12
        gaussian_prior(GaussianProcess(LinearBeta()), x)
        gaussian_prior(GaussianProcess(Sqrt()), x)


def test_mse_is_the_error_of_its_kind():
    x, eps, _ = nodes(PLANE)
    process, t = FixedNoise(CosineBeta(), eps), torch.full((81,), 0.4, dtype=torch.float64)
    torch.testing.assert_close(gaussian_mse(process, lambda z, t: 0 * z, x, t, "eps"), eps**2)
    torch.testing.assert_close(gaussian_mse(process, lambda z, t: 0 * z, x, t), x**2)


# --- continuous time --------------------------------------------------------------------------------------------------


def continuous(data, schedule, first, count=300, denoise=None):
    """The bound by Gauss-Legendre in log-time between `first` and 1 (the integrand goes like 1/t)."""
    places, weights = (torch.tensor(a) for a in numpy.polynomial.legendre.leggauss(count))
    if first > 0:
        now = torch.exp(math.log(first) * (1 - places) / 2)
        weights = weights / 2 * -math.log(first) * now / (1 - first)
    else:
        now, weights = (places + 1) / 2, weights / 2
    x, eps, w = nodes(data)
    t = ((now - first) / (1 - first)).clamp(0, 1).repeat_interleave(len(x))
    process = FixedNoise(schedule, eps.repeat(count, 1))
    rows = x.repeat(count, 1)
    loss = gaussian_nelbo_continuous(process, denoise or data.denoiser(process), rows, t, first=first).mean(1)
    return (loss.view(count, -1).detach() @ w * weights).sum().item()


@pytest.mark.parametrize("schedule, first", [(CosineBeta(), 1e-3), (LinearBeta(), 1e-3), (LinearLogSnr(), 0.0)])
def test_continuous_bound_is_the_likelihood(schedule, first):
    """Up to L_T's mismatch (1e-5) and L_0's stated excess log(1 + 1 / (v SNR)) / 2."""
    for data in (NARROW, WIDE, PLANE):
        snr = GaussianProcess(schedule).log_snr(torch.tensor([first])).exp().item()
        excess = 0.5 * torch.log1p(1 / (data.spectrum * snr)).mean().item()
        assert continuous(data, schedule, first) == pytest.approx(nll(data) + excess, abs=5e-5)
        assert continuous(data, schedule, first) == pytest.approx(nll(data), abs=1e-3)


def test_steps_tend_to_continuous_time():
    """A fixed, wrong denoiser: the KL terms on ever finer grids, with either variance."""
    schedule, snr_0 = LinearLogSnr(6.0, -8.0), math.exp(6.0)

    def wrong(z, t):
        return 0.7 * z - 0.1

    limit = continuous(NARROW, schedule, 0.0, denoise=wrong)
    for variance in (fixed_small, fixed_large):
        errors = []
        for T in (200, 800):
            times = torch.linspace(0, 1, T + 1, dtype=torch.float64)
            x, eps, weight = nodes(NARROW)
            n = len(x)
            step = torch.arange(1, T + 1).repeat_interleave(n)
            process, rows = FixedNoise(schedule, eps.repeat(T, 1)), x.repeat(T, 1)
            z = process.corrupt(rows, times[step])
            terms = reverse_term(process, rows, wrong(z, None), z, times, step, variance)[:, 0]
            prior = (weight * gaussian_prior(GaussianProcess(schedule), x)[:, 0]).sum().item()
            start = 0.5 * math.log(2 * math.pi * math.e / snr_0)
            errors.append((terms.view(T, n) @ weight).sum().item() + prior + start - limit)
        assert errors[0] / errors[1] == pytest.approx(4, rel=0.1) and abs(errors[1]) < 0.02 * limit


def test_only_the_ends_of_a_schedule_count():
    """A denoiser of (z, SNR): equal on a straight log-SNR, a bent one, and a shifted cosine cut to the same ends."""
    high, low = 7.0, -7.0
    torch.manual_seed(0)
    bent = LearnedLogSnr(high, low)
    with torch.no_grad():
        bent.height += 3
        bent.place += torch.randn_like(bent.place)
    cosine = Between(ShiftedCosine(2.0), high, low)
    values = []
    for schedule in (LinearLogSnr(high, low), bent, cosine):
        process = GaussianProcess(schedule)

        def denoise(z, t, process=process):
            return torch.sigmoid(process.log_snr(t) - 1)[:, None] * z + 0.2

        values.append(continuous(NARROW, schedule, 0.0, 400, denoise))
    assert values[1] == pytest.approx(values[0], rel=1e-6) and values[2] == pytest.approx(values[0], rel=1e-6)
    longer = continuous(NARROW, LinearLogSnr(high + 1, low), 0.0, 400, denoise)
    assert abs(longer - values[0]) > 0.01


@dataclass(frozen=True)
class Between:
    """A schedule run only from log-SNR high to low."""

    schedule: ShiftedCosine
    high: float
    low: float

    @cached_property
    def ends(self):
        return time_of(self.schedule, torch.sigmoid(torch.tensor([self.high, self.low], dtype=torch.float64))).tolist()

    def alpha(self, t):
        start, end = self.ends
        return self.schedule.alpha(start + (end - start) * t)

    def dalpha(self, t):
        start, end = self.ends
        return (end - start) * self.schedule.dalpha(start + (end - start) * t)


def test_a_straight_log_snr_scatters_less():
    """The shape decides the variance of one draw: squared error of one-sample bounds over t, at the same ends."""
    spread = {}
    for name, schedule in (("straight", LinearLogSnr(7.0, -7.0)), ("cosine", Between(ShiftedCosine(1.0), 7.0, -7.0))):
        t = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
        process = GaussianProcess(schedule)
        x = NARROW.sample(2000, torch.Generator().manual_seed(0))
        loss = gaussian_nelbo_continuous(process, NARROW.denoiser(process), x, t, torch.Generator().manual_seed(1), 0.0)
        spread[name] = loss.var().item()
    assert spread["straight"] < 0.5 * spread["cosine"]


# --- learned variance -------------------------------------------------------------------------------------------------


def test_interpolation_is_of_logarithms():
    small, large = torch.tensor([0.1, 0.0]).double(), torch.tensor([0.4, 0.4]).double()
    o = torch.tensor([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]]).double()
    expected = torch.tensor([[0.1, 0.2, 0.4], [0.2, 0.08**0.5, 0.4]]).double()
    torch.testing.assert_close(interpolated(o, small, large), expected)
    assert torch.equal(learned(lambda z, t: (z, o))(o, small, small, large), interpolated(o, small, large))


def test_hybrid_is_simple_plus_bound_and_the_bound_teaches_the_variance_alone():
    T, lam = 6, 0.3
    x, eps, t, _ = over_steps(NARROW, T)
    process = FixedNoise(CosineBeta(), eps)
    prediction, o = torch.full_like(x, 0.2).requires_grad_(), torch.full_like(x, 0.1).requires_grad_()

    def net(z, t):
        return prediction, o

    loss = gaussian_hybrid_loss(process, net, x, t, T, "eps", lam)
    simple = gaussian_mse(process, lambda z, t: prediction, x, (t * T).ceil() / T, "eps")
    whole = gaussian_nelbo(process, process.denoiser(lambda z, t: prediction, "eps"), x, t, T, variance=learned(net))
    torch.testing.assert_close(loss, simple + lam * (whole - gaussian_prior(process, x)))
    of_hybrid = torch.autograd.grad(loss.sum(), (prediction, o))
    torch.testing.assert_close(of_hybrid[0], torch.autograd.grad(simple.sum(), prediction, retain_graph=True)[0])
    torch.testing.assert_close(of_hybrid[1], lam * torch.autograd.grad(whole.sum(), o)[0])
    assert of_hybrid[1].abs().min() > 0


def test_the_bound_is_smallest_at_the_true_variance():
    """Gradient of the mean over (x, eps) at the o that stands for Var[z_s | z_t]; narrow data, so that o is inside."""
    process, times = GaussianProcess(CosineBeta()), latent_times(10)
    x, eps, weight = nodes(NARROW)
    for i in (1, 4, 8):
        step, t = torch.full((9,), i), times[i].expand(9)
        s = times[i - 1].expand(9)
        small, large = process.posterior_weights(s, t)[2], process.between(s, t)[1]
        z = FixedNoise(CosineBeta(), eps).corrupt(x, t)
        best = best_of(NARROW, CosineBeta())(z, t, small, large)
        o = (2 * (best / small[:, None]).log() / (large / small)[:, None].log() - 1).requires_grad_()
        assert -1 < o.min() and o.max() < 1
        terms = reverse_term(process, x, NARROW.denoiser(process)(z, t), z, times, step,
                             lambda z, t, a, b, o=o: interpolated(o, a, b))  # fmt: skip
        (slope,) = torch.autograd.grad((weight * terms[:, 0]).sum(), o)
        assert abs(slope.sum().item()) < 1e-12 < 1e-6 < slope.abs().max().item()


# --- importance sampling of t ----------------------------------------------------------------------------------------


def test_loss_aware_times_are_unbiased_and_favour_large_terms():
    times, size = LossAwareTimes(4, history=2, uniform=0.1), torch.tensor([8.0, 4.0, 2.0, 2.0])
    middle = (torch.arange(4) + 0.5) / 4
    times.update(middle, -size)
    assert times.probabilities().tolist() == [0.25] * 4  # not yet two losses each
    times.update(middle, size)
    p = times.probabilities()
    assert p.tolist() == pytest.approx((0.9 * size / 16 + 0.025).tolist())
    t, weight = times.draw(20_000, torch.Generator().manual_seed(0))
    step = (t * 4).long()
    torch.testing.assert_close(step.bincount(minlength=4) / 20_000, p.float(), rtol=0, atol=0.015)
    torch.testing.assert_close(weight, (1 / (4 * p[step])).float())
    assert (p * size / (4 * p)).sum().item() == pytest.approx(size.mean().item())  # E[weight * loss]
    times.update(middle[:1], torch.tensor([1.0]))  # the oldest loss of step 0 is forgotten
    assert times.losses[0].tolist() == [1.0, 8.0]


# --- shapes and bad input ---------------------------------------------------------------------------------------------


def test_texts_of_vectors_in_float32():
    x, t = torch.randn(4, 5, 3), torch.rand(4, generator=torch.Generator().manual_seed(0))
    process = GaussianProcess(CosineBeta())
    for loss in (
        gaussian_mse(process, lambda z, t: z, x, t, "v", torch.Generator().manual_seed(1)),
        gaussian_nelbo(process, lambda z, t: z, x, t, 1000, torch.Generator().manual_seed(1)),
        gaussian_nelbo_continuous(process, lambda z, t: z, x, t, torch.Generator().manual_seed(1)),
    ):
        assert loss.shape == x.shape and loss.dtype == torch.float32 and bool(loss.isfinite().all())
    assert gaussian_parts(process, lambda z, t: z, x, 7).nelbo.shape == (4,)


X, HALF = torch.zeros(3, 2), torch.full((3,), 0.5)
PROCESS = GaussianProcess(CosineBeta())


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: gaussian_nelbo(PROCESS, None, X, HALF, 0), "at least one step, got T = 0"),
        (lambda: gaussian_nelbo(PROCESS, None, X, HALF + 1, 5), r"t must lie in \[0, 1\]"),
        (lambda: gaussian_parts(PROCESS, None, X, torch.tensor([0.5, 0.9])), "rise from above 0 to 1"),
        (lambda: gaussian_parts(PROCESS, None, X, torch.tensor([0.5, 0.4, 1.0])), "rise from above 0 to 1"),
        (lambda: gaussian_nelbo_continuous(PROCESS, None, X, HALF, first=1.0), r"lies in \[0, 1\), got 1"),
        (lambda: reconstruction(PROCESS, torch.zeros(1)), "SNR is infinite at the first latent"),
        (lambda: gaussian_hybrid_loss(PROCESS, None, X, HALF, 5, lam=-1.0), "at least 0, got -1"),
        (lambda: gaussian_mse(PROCESS, lambda z, t: z, X, HALF, "mu"), 'predicts "x", "eps" or "v"'),
        (lambda: LossAwareTimes(0), "T >= 1 steps"),
        (lambda: LossAwareTimes(5).update(HALF, torch.tensor([1.0, float("nan"), 1.0])), "one finite loss for each"),
    ],
)
def test_bad_input_is_named_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
