"""Sampling vectors: the law of whole runs against a recursion, subsets of steps, every hook, bad input."""

import pytest
import torch

from difflm_core.objectives import best_variance, fixed_large, fixed_small
from difflm_core.oracle import GaussianMixture, gaussian_data
from difflm_core.processes import CosineBeta, GaussianProcess, LinearBeta, ShiftedCosine, Sqrt
from difflm_core.samplers import sample_gaussian, subset

PROCESS = GaussianProcess(CosineBeta())
DATA = gaussian_data([0.5], [[0.3]])
DOUBLE = {"dtype": torch.float64}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def law_of_a_run(process, data, times, eta, variance=None):
    """Exact (mean, variance) of a run on 1-D Gaussian data: x_hat = g z + c makes every step linear in z."""
    m, v = data.means.item(), data.spectrum.item()
    mean, var = 0.0, 1.0
    for t, s in zip(times, [*times[1:], 0.0]):
        now, before = (torch.tensor([time], dtype=torch.float64) for time in (t, s))
        a = process.alpha(now).item()
        gain = a**0.5 * v / (a * v + 1 - a)
        shift = m - gain * a**0.5 * m
        if s == 0:
            return gain * mean + shift, gain**2 * var
        of_x, of_z, small = (weight.item() for weight in process.posterior_weights(before, now))
        fresh = eta**2 * small
        if variance is not None:
            fresh = variance(torch.zeros(1, 1).double(), now, torch.tensor([small]), process.between(before, now)[1])
            fresh = fresh.item()
        elif eta != 1:
            of_z = ((1 - process.alpha(before).item() - fresh) / (1 - a)) ** 0.5
            of_x = process.alpha(before).item() ** 0.5 - of_z * a**0.5
        slope = of_x * gain + of_z
        mean, var = slope * mean + of_x * shift, slope**2 * var + fresh


def check_law(x, mean, variance):
    n = x.numel()
    assert x.mean().item() == pytest.approx(mean, abs=4 * (variance / n) ** 0.5)
    assert x.var().item() == pytest.approx(variance, rel=4 * (2 / n) ** 0.5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("times", [[1.0, 0.75, 0.5, 0.25], [1.0, 0.5], [1.0, 0.95, 0.6, 0.59, 0.05]])
def test_runs_have_the_law_of_the_recursion(eta, times):
    sample = sample_gaussian(
        PROCESS, DATA.denoiser(PROCESS), 20, (20_000, 1), seeded(), eta, torch.tensor(times, **DOUBLE), **DOUBLE
    )
    check_law(sample.x, *law_of_a_run(PROCESS, DATA, times, eta))


@pytest.mark.parametrize("variance", [fixed_large, fixed_small])
def test_runs_with_a_variance_of_choice(variance):
    sample = sample_gaussian(
        PROCESS, DATA.denoiser(PROCESS), 6, (20_000, 1), seeded(1), variance=variance, **DOUBLE
    )  # fmt: skip
    check_law(sample.x, *law_of_a_run(PROCESS, DATA, [i / 6 for i in range(6, 0, -1)], 1.0, variance))


def test_all_roads_lead_to_the_data_as_steps_grow():
    for eta in (0.0, 1.0):
        errors = []
        for T in (8, 40, 200):
            mean, variance = law_of_a_run(PROCESS, DATA, [i / T for i in range(T, 0, -1)], eta)
            errors.append(abs(mean - 0.5) + abs(variance - 0.3))
        assert errors[0] > 3 * errors[1] > 9 * errors[2] and errors[2] < 0.015


def test_with_the_true_variance_two_steps_are_enough():
    """But for the doubt about x that is left at the last step, which is returned without its noise."""
    best = best_variance(lambda z, t: DATA.posterior(z, t, PROCESS)[1], PROCESS)
    times = torch.tensor([1.0, 0.02], **DOUBLE)
    left = DATA.posterior(torch.zeros(1, 1), times[1:], PROCESS)[1].item()
    mean, variance = law_of_a_run(PROCESS, DATA, times.tolist(), 1.0, best)
    assert mean == pytest.approx(0.5, abs=1e-7) and variance == pytest.approx(0.3 - left, abs=1e-7)


def test_a_mixture_is_sampled():
    data = GaussianMixture(torch.tensor([0.3, 0.7]), torch.tensor([[-2.0], [1.0]]), torch.tensor([[[0.04]], [[0.09]]]))
    for eta in (0.0, 1.0):
        x = sample_gaussian(PROCESS, data.denoiser(PROCESS), 60, (3000, 1), seeded(2), eta, **DOUBLE).x[:, 0]
        left = x < -0.8
        assert left.double().mean().item() == pytest.approx(0.3, abs=0.04)
        assert x[left].mean().item() == pytest.approx(-2, abs=0.05)
        assert x[~left].std().item() == pytest.approx(0.3, abs=0.03)


def test_deterministic_but_for_the_start():
    run = [sample_gaussian(PROCESS, DATA.denoiser(PROCESS), 8, (5, 1), seeded(s), 0.0).x for s in (0, 0, 1)]
    assert torch.equal(run[0], run[1]) and not torch.equal(run[0], run[2])
    ordered = sample_gaussian(PROCESS, DATA.denoiser(PROCESS), 50, (64, 1), seeded(), 0.0, record=True)
    start, end = (ordered.trajectory[i].z[:, 0] for i in (0, -1))
    assert torch.equal(start.argsort(), end.argsort())  # a monotone map of the noise


def test_subset_of_steps():
    assert (subset(10, 10) * 10).tolist() == pytest.approx(list(range(10, 0, -1)))
    assert (subset(10, 3) * 10).round().tolist() == [10, 7, 4]
    assert subset(1000, 1).tolist() == [1.0]
    for steps in (7, 33, 99):
        times = subset(100, steps) * 100
        assert len(times) == steps and bool((times.diff() < 0).all())
        torch.testing.assert_close(times, times.round(), rtol=0, atol=1e-9)
    full = [
        sample_gaussian(PROCESS, DATA.denoiser(PROCESS), 12, (4, 1), seeded(), times=t) for t in (None, subset(12, 12))
    ]
    assert torch.equal(full[0].x, full[1].x)


def test_what_is_recorded_and_what_it_cost():
    seen = []

    def denoise(z, t):
        seen.append((t[0].item(), z.clone()))
        return 0.5 * z

    sample = sample_gaussian(PROCESS, denoise, 10, (3, 2, 4), seeded(), times=subset(10, 4), record=True)
    assert sample.network_calls.tolist() == [4, 4, 4] and sample.x.shape == (3, 2, 4)
    assert [frame.time for frame in sample.trajectory] == pytest.approx([1.0, 0.8, 0.5, 0.3, 0.0])
    for frame, (time, z) in zip(sample.trajectory, seen):
        assert frame.time == pytest.approx(time) and torch.equal(frame.z, z) and torch.equal(frame.x_hat, 0.5 * z)
    assert torch.equal(sample.trajectory[-1].x_hat, sample.x)
    assert torch.equal(sample.x, 0.5 * seen[-1][1])  # the last step returns x_hat
    assert sample_gaussian(PROCESS, denoise, 2, (3, 2)).trajectory is None


@pytest.mark.parametrize("schedule", [Sqrt(), ShiftedCosine(9.0), LinearBeta()])
def test_the_last_step_reaches_the_data(schedule):
    """Also where alpha(0) < 1: points are returned as they are, without noise."""
    process, data = GaussianProcess(schedule), gaussian_data([2.0], [[1e-12]])
    x = sample_gaussian(process, data.denoiser(process), 5, (50, 1), seeded(), **DOUBLE).x
    torch.testing.assert_close(x, torch.full_like(x, 2.0), rtol=0, atol=1e-4)


def test_clamp_replaces_x_hat():
    times = []

    def clamp(x_hat, t):
        times.append(t[0].item())
        return x_hat.round() if t[0] <= 0.5 else x_hat

    sample = sample_gaussian(PROCESS, lambda z, t: z, 4, (6, 2), seeded(), clamp=clamp, record=True)
    assert times == [1.0, 0.75, 0.5, 0.25]
    assert torch.equal(sample.x, sample.x.round())
    assert [bool((frame.x_hat == frame.x_hat.round()).all()) for frame in sample.trajectory] == [False] * 2 + [True] * 3


def test_guide_moves_every_step_but_the_last():
    calls = []

    def guide(z_s, z_t, x_hat, s, t):
        calls.append((s[0].item(), t[0].item()))
        with torch.enable_grad():
            z = z_s.detach().requires_grad_()
            (slope,) = torch.autograd.grad((z - 3).square().sum(), z)
        return z_s - 0.5 * slope

    sample = sample_gaussian(PROCESS, lambda z, t: z, 3, (4, 2), seeded(), guide=guide)
    assert calls == [(pytest.approx(2 / 3), 1.0), (pytest.approx(1 / 3), pytest.approx(2 / 3))]
    torch.testing.assert_close(sample.x, torch.full_like(sample.x, 3.0))


def test_kept_positions_are_noisy_values_and_come_back():
    mask = torch.tensor([[True, False, False]]).expand(4000, 3)
    values = torch.full((4000, 3, 1), 1.5)
    levels = {}

    def denoise(z, t):
        levels[round(t[0].item(), 3)] = z[:, 0].mean().item(), z[:, 0].var().item(), z[:, 1:].mean().item()
        return torch.zeros_like(z)

    sample = sample_gaussian(PROCESS, denoise, 4, (4000, 3, 1), seeded(), keep=(mask, values))
    assert torch.equal(sample.x[:, 0], values[:, 0]) and sample.x[:, 1:].abs().max() == 0
    for time, (mean, variance, free) in levels.items():
        alpha = PROCESS.alpha(torch.tensor([time]))[0].item()
        assert mean == pytest.approx(alpha**0.5 * 1.5, abs=0.08) and variance == pytest.approx(1 - alpha, abs=0.1)
        assert free == pytest.approx(0, abs=0.1)
    by_coordinate = torch.zeros(2, 3, 2, dtype=torch.bool)
    by_coordinate[0, 1, 1] = True
    x = sample_gaussian(PROCESS, lambda z, t: 0 * z, 2, (2, 3, 2), keep=(by_coordinate, torch.ones(2, 3, 2))).x
    assert torch.equal(x, by_coordinate.float())


def test_self_conditioning_shows_the_last_answer():
    shown = []

    def denoise(z, t, previous=None):
        shown.append(previous)
        return 0.5 * z

    sample = sample_gaussian(PROCESS, denoise, 3, (2, 2), seeded(), self_condition=True, record=True)
    assert shown[0] is None
    assert all(torch.equal(previous, frame.x_hat) for previous, frame in zip(shown[1:], sample.trajectory))


def run(T=4, **options):
    return sample_gaussian(PROCESS, lambda z, t: z, T, (2, 2), **options)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: run(0), "at least one step, got T = 0"),
        (lambda: run(2, times=[1.0, 0.5, 0.2]), "3 times but the chain has only T = 2 steps"),
        (lambda: subset(10, 11), "T = 10 steps has no 11 steps"),
        (lambda: subset(10, 0), "at least one step"),
        (lambda: run(times=[0.9, 0.5]), "must fall from 1"),
        (lambda: run(times=[1.0, 0.5, 0.5]), "must fall from 1"),
        (lambda: run(times=[1.0, 0.0]), "stay above 0"),
        (lambda: run(eta=-0.1), r"eta lies in \[0, 1\]"),
        (lambda: run(eta=0.0, variance=fixed_large), "ancestral steps, eta = 1, got eta = 0.0"),
    ],
)
def test_bad_input_is_named_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
