"""Gaussian noise: Bayes on a grid, composition of jumps, DDIM and ancestral steps, parametrisations, known chains."""

import math

import pytest
import torch

from difflm_core.processes import (
    Cosine,
    CosineBeta,
    GaussianProcess,
    GridSchedule,
    LearnedLogSnr,
    Linear,
    LinearBeta,
    LinearLogSnr,
    Rescaled,
    ShiftedCosine,
    Sqrt,
    betas_of,
    scaled_linear_betas,
)

EXACT = {"rtol": 0, "atol": 1e-12}
SCHEDULES = [
    Linear(), Cosine(), Sqrt(), Rescaled(Sqrt()), ShiftedCosine(), ShiftedCosine(9.0), LinearBeta(), CosineBeta(),
    LinearLogSnr(), GridSchedule(scaled_linear_betas(40)),
]  # fmt: skip
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: str(s)[:30])


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def normal(z, mean, variance):
    return torch.exp(-0.5 * (z - mean) ** 2 / variance) / (2 * math.pi * variance) ** 0.5


def random_step(seed: int = 0, B: int = 64, D: int = 3):
    """Vectors and times s < t inside (0, 1)."""
    g = torch.Generator().manual_seed(seed)
    x, z = (torch.randn(B, D, generator=g, dtype=torch.float64) for _ in range(2))
    s, t = (0.01 + 0.98 * torch.rand(B, 2, generator=g, dtype=torch.float64)).sort(1).values.unbind(1)
    return x, z, s, t


@every_schedule
@pytest.mark.parametrize("s, t", [(0.2, 0.3), (0.05, 0.9)])
def test_posterior_is_bayes_on_a_grid(schedule, s, t):
    process, x, z_t = GaussianProcess(schedule), 0.7, -0.4
    grid = torch.linspace(-9, 9, 20001, dtype=torch.float64)
    alpha_s, (ratio, jump) = process.alpha(one(s)), process.between(one(s), one(t))
    joint = normal(grid, alpha_s.sqrt() * x, 1 - alpha_s) * normal(z_t, ratio.sqrt() * grid, jump)
    law = joint / joint.sum()
    mean = (law * grid).sum()
    mean_p, variance_p = process.posterior(one(z_t), one(x), one(s), one(t))
    assert mean_p.item() == pytest.approx(mean.item(), abs=1e-8)
    assert variance_p.item() == pytest.approx((law * (grid - mean) ** 2).sum().item(), abs=1e-8)


@every_schedule
def test_jumps_compose_to_the_marginal(schedule):
    process = GaussianProcess(schedule)
    s, t, u = one(0.1), one(0.35), one(0.8)
    (near, near_noise), (far, far_noise), (both, both_noise) = (
        process.between(*pair) for pair in ((s, t), (t, u), (s, u))
    )
    torch.testing.assert_close(near * far, both, **EXACT)
    torch.testing.assert_close(far * near_noise + far_noise, both_noise, **EXACT)
    torch.testing.assert_close(near_noise, 1 - near, **EXACT)
    torch.testing.assert_close(process.alpha(s) * both, process.alpha(u), **EXACT)
    # z_s ~ q(z_s | x) is what is left when z_t ~ q(z_t | x) takes a step of the posterior, for every eta
    a, b, variance = process.posterior_weights(s, t)
    torch.testing.assert_close(a + b * process.alpha(t).sqrt(), process.alpha(s).sqrt(), **EXACT)
    torch.testing.assert_close(b**2 * (1 - process.alpha(t)) + variance, 1 - process.alpha(s), **EXACT)


def test_corrupt_has_the_marginal_and_repeats():
    process, x = GaussianProcess(CosineBeta()), torch.full((40000, 1), 2.0, dtype=torch.float64)
    t = torch.full((40000,), 0.4, dtype=torch.float64)
    z = process.corrupt(x, t, torch.Generator().manual_seed(0))
    alpha = process.alpha(t)[0].item()
    assert z.mean().item() == pytest.approx(alpha**0.5 * 2, abs=0.02)
    assert z.var().item() == pytest.approx(1 - alpha, abs=0.02)
    assert torch.equal(z, process.corrupt(x, t, torch.Generator().manual_seed(0)))


@every_schedule
def test_ddim_with_eta_one_is_the_ancestral_step(schedule):
    process, (x, z, s, t) = GaussianProcess(schedule), random_step()
    drawn = process.step(z, x, s, t, torch.Generator().manual_seed(3), eta=1.0)
    mean, variance = process.posterior(z, x, s, t)
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.testing.assert_close(drawn, mean + variance.sqrt() * noise, rtol=0, atol=1e-10)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_every_eta_keeps_the_marginals(eta):
    """The step is linear in z_t = sqrt(alpha_t) x + noise eps: from its slope the law of z_s given x follows."""
    process, (x, _, s, t) = GaussianProcess(ShiftedCosine(3.0)), random_step(1)
    zero = torch.zeros_like(x)
    at_mean, shifted = (
        process.step(process.levels(t, x)[0] * x + process.levels(t, x)[1] * eps, x, s, t,
                     torch.Generator().manual_seed(0), eta)
        for eps in (zero, zero + 1)
    )  # fmt: skip
    slope, variance = shifted - at_mean, eta**2 * process.posterior_weights(s, t)[2][:, None]
    torch.testing.assert_close(slope**2 + variance, (1 - process.alpha(s))[:, None].expand_as(x), rtol=0, atol=1e-10)
    if eta == 0:
        torch.testing.assert_close(at_mean, process.levels(s, x)[0] * x, rtol=0, atol=1e-10)


def test_eps_form_of_the_ancestral_mean():
    """DDPM Eq. 11: (z_t - beta / sqrt(1 - alpha_t) eps) / sqrt(1 - beta) is the posterior's mean."""
    process, (x, z, s, t) = GaussianProcess(LinearBeta()), random_step(2)
    ratio, jump = (level[:, None] for level in process.between(s, t))
    mean = (z - jump / process.levels(t, z)[1] * process.to_eps(z, x, t)) / ratio.sqrt()
    torch.testing.assert_close(mean, process.posterior(z, x, s, t)[0], rtol=0, atol=1e-10)


@every_schedule
@pytest.mark.parametrize("kind", ["x", "eps", "v"])
def test_predictions_translate_back(schedule, kind):
    process, (x, z, _, t) = GaussianProcess(schedule), random_step(4)
    prediction = process.from_x(z, x, t, kind)
    torch.testing.assert_close(process.to_x(z, prediction, t, kind), x, rtol=0, atol=1e-9)
    torch.testing.assert_close(process.denoiser(lambda z_t, t: prediction, kind)(z, t), x, rtol=0, atol=1e-9)


def test_kinds_are_weights():
    """The eps error is SNR times the x error, the v error 1 + SNR times; v itself from x and eps."""
    process, (x, z, _, t) = GaussianProcess(CosineBeta()), random_step(5)
    wrong, snr = x + 0.1 * z, process.log_snr(t).exp()[:, None]
    eps, v = process.to_eps(z, x, t), process.from_x(z, x, t, "v")
    signal, noise = process.levels(t, z)
    torch.testing.assert_close(v, signal * eps - noise * x, **EXACT)
    torch.testing.assert_close(noise * z + signal * v, eps, **EXACT)
    for kind, weight in (("eps", snr), ("v", 1 + snr)):
        error = (process.from_x(z, wrong, t, kind) - process.from_x(z, x, t, kind)) ** 2
        torch.testing.assert_close(error / weight, (wrong - x) ** 2, **EXACT)


def test_levels_keep_their_digits_in_float32():
    """1 - alpha is 2.2e-5 at t = 0.003: computed in float32 it would be off in its third digit."""
    process, t = GaussianProcess(ShiftedCosine()), torch.tensor([0.003])
    expected = math.sin(math.pi / 2 * t.double().item()) ** 2
    noise = process.levels(t, torch.zeros(1, 1))[1].item()
    assert noise**2 == pytest.approx(expected, rel=1e-6)


# --- chains of betas -------------------------------------------------------------------------------------------------


def test_diffusion_lm_chain():
    """The released code's numbers for T = 2000; the chain is the rescaled curve except for the cut last beta."""
    betas = betas_of(Sqrt(), 2000)
    grid = GridSchedule(betas)
    assert betas[0].item() == pytest.approx(0.014641310533, abs=1e-12)
    assert betas[0].sqrt().item() == pytest.approx(0.121001283, abs=1e-9)
    expected = [0.9853587, 0.8500709, 0.6905193, 0.2957803, 2.0204e-7]
    assert grid.alphas[[1, 50, 200, 1000, 2000]].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-12)
    assert grid.alphas[[1, 50, 200, 1000]].tolist() == pytest.approx(expected[:-1], abs=1e-7)
    t = torch.arange(2000, dtype=torch.float64) / 2000
    torch.testing.assert_close(grid.alpha(t), Rescaled(Sqrt()).alpha(t), **EXACT)


def test_scaled_linear_betas():
    betas = scaled_linear_betas(2000)
    assert betas[0].item() == pytest.approx(5e-5) and betas[-1].item() == pytest.approx(0.01)
    noise = GaussianProcess(GridSchedule(betas)).levels(one(1 / 2000), one(0.0))[1]
    assert noise.item() == pytest.approx(0.00707107, abs=1e-8)
    fine = GridSchedule(scaled_linear_betas(100_000))
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(fine.alpha(t), LinearBeta().alpha(t), rtol=2e-3, atol=1e-5)


def test_cosine_betas_are_cut():
    betas = betas_of(CosineBeta(), 1000)
    assert betas[-1].item() == 0.999 and betas[:-1].max() < 0.999
    assert bool((betas_of(Sqrt(), 50_000) <= 0.999).all())  # two times of pure noise in a row: 0 / 0


def test_rescaled_starts_at_the_data():
    t = torch.linspace(0, 0.999, 50, dtype=torch.float64, requires_grad=True)
    schedule = Rescaled(Sqrt())
    assert schedule.alpha(t)[0].item() == 1
    (slope,) = torch.autograd.grad(schedule.alpha(t).sum(), t)
    torch.testing.assert_close(schedule.dalpha(t), slope, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(schedule.alpha(t) * Sqrt().alpha(torch.zeros(1)), Sqrt().alpha(t), rtol=0, atol=1e-7)


@pytest.mark.parametrize("trained", [False, True])
def test_learned_log_snr_rises_between_its_ends(trained):
    torch.manual_seed(0)
    schedule = LearnedLogSnr(8.0, -6.0)
    if trained:
        with torch.no_grad():
            for parameter in (schedule.height, schedule.steepness, schedule.place):
                parameter += torch.randn_like(parameter)
    t = torch.linspace(0, 1, 101, dtype=torch.float64, requires_grad=True)
    alpha = schedule.alpha(t)
    (slope,) = torch.autograd.grad(alpha.sum(), t, retain_graph=True)
    torch.testing.assert_close(schedule.dalpha(t), slope, rtol=1e-9, atol=1e-12)
    log_snr = torch.logit(alpha)
    assert log_snr[0].item() == pytest.approx(8) and log_snr[-1].item() == pytest.approx(-6)
    assert bool((log_snr.diff() < 0).all())
    GaussianProcess(schedule).log_snr(t.detach()).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in schedule.parameters())


def test_linear_log_snr():
    t = torch.linspace(0, 1, 21, dtype=torch.float64, requires_grad=True)
    log_snr = GaussianProcess(LinearLogSnr(7.0, -5.0)).log_snr(t.detach())
    torch.testing.assert_close(log_snr, 7 - 12 * t.detach(), rtol=0, atol=1e-9)
    (slope,) = torch.autograd.grad(LinearLogSnr(7.0, -5.0).alpha(t).sum(), t)
    torch.testing.assert_close(LinearLogSnr(7.0, -5.0).dalpha(t), slope, **EXACT)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda p, x, t: p.corrupt(x, t + 1), r"t must lie in \[0, 1\]"),
        (lambda p, x, t: p.corrupt(x, t[:2]), "2 times for a batch of 3: give one time per row"),
        (lambda p, x, t: p.posterior(x, x, t, t), "earlier s < t"),
        (lambda p, x, t: p.step(x, x, t / 2, t, eta=1.5), r"eta lies in \[0, 1\]"),
        (lambda p, x, t: p.to_x(x, x, t, "noise"), 'predicts "x", "eps" or "v", not'),
        (lambda p, x, t: p.denoiser(None, "mu"), 'predicts "x", "eps" or "v", not'),
        (lambda p, x, t: scaled_linear_betas(20), "need T > 20 steps, got T = 20"),
        (lambda p, x, t: betas_of(Sqrt(), 0), "at least one step, got T = 0"),
        (lambda p, x, t: LearnedLogSnr(-1.0, 1.0), "falls from high to low"),
    ],
)
def test_bad_input_is_named_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(GaussianProcess(), torch.zeros(3, 2), torch.full((3,), 0.5))
    assert "\n" not in str(caught.value)
