"""The exercises, study and widget of lesson 01: right answers pass, usual mistakes are named, measures measure."""

import json

import pytest
import torch
from judging import is_told, passes

from difflm_core.classroom import widgets_gaussian
from difflm_core.classroom.exercises import lesson_01
from difflm_core.classroom.exercises.lesson_01 import (
    ddim,
    eight_calls,
    equal_steps,
    ex1_1,
    ex1_2,
    ex1_3,
    ex1_4,
    posterior_mean,
)
from difflm_core.classroom.pictures import lesson_01 as pictures
from difflm_core.processes import CosineBeta, GaussianProcess
from difflm_core.studies import gaussian_ddpm as study

COSINE = GaussianProcess(CosineBeta())


# 1.1 posterior_mean(z_t, x, alpha_s, alpha_t)


def by_precisions(z_t, x, alpha_s, alpha_t):
    ratio = alpha_t / alpha_s
    of_z, of_x = ratio / (1 - ratio), 1 / (1 - alpha_s)
    return (of_z * z_t / ratio.sqrt() + of_x * alpha_s.sqrt() * x) / (of_z + of_x)


def by_noise(z_t, x, alpha_s, alpha_t):
    """DDPM's other form: (z_t - beta / sqrt(1 - alpha_t) eps) / sqrt(1 - beta)."""
    ratio = alpha_t / alpha_s
    eps = (z_t - alpha_t.sqrt() * x) / (1 - alpha_t).sqrt()
    return (z_t - (1 - ratio) / (1 - alpha_t).sqrt() * eps) / ratio.sqrt()


@pytest.mark.parametrize("right", [by_precisions, by_noise])
def test_right_means(right):
    passes(ex1_1, right)


MEAN = posterior_mean.mean_with


@pytest.mark.parametrize(
    "wrong, message",
    [
        (MEAN(ratio=lambda s, t: t), "alpha_{t|s} = alpha_t / alpha_s"),
        (MEAN(ratio=lambda s, t: s / t, of_z=lambda s, t, r: r.sqrt() * (1 - s)), "upside down"),
        (posterior_mean.no_roots, "square roots are missing"),
        (MEAN(of_x=lambda s, t, r: 1 - r), "in front of x is missing"),
        (MEAN(of_z=lambda s, t, r: 1 - s), "in front of z_t is missing"),
        (posterior_mean.swapped, "x and z_t have changed places"),
        (lambda z_t, x, s, t: posterior_mean.right(z_t, x, t, s), "alpha_s and alpha_t have changed places"),
        (MEAN(of_z=lambda s, t, r: r * (1 - s)), "In front of z_t the root"),
        (MEAN(rest=lambda s, t: 1 - s), "belongs to t"),
        (MEAN(rest=lambda s, t: 1 + 0 * t), "Divide by 1 - alpha_t"),
        (lambda z_t, x, alpha_s, alpha_t: alpha_s.sqrt() * x, "z_t is evidence too"),
        (lambda *inputs: 1.01 * posterior_mean.right(*inputs), "With alpha_s ="),
    ],
)
def test_wrong_means(wrong, message):
    is_told(ex1_1, wrong, message)


# 1.2 ddim_step(z_t, eps_hat, alpha_s, alpha_t)


def by_scaling(z_t, eps_hat, alpha_s, alpha_t):
    """In units of the signal, z / sqrt(alpha), the step is a straight line in the noise-to-signal ratio."""
    slope = ((1 - alpha_s) / alpha_s).sqrt() - ((1 - alpha_t) / alpha_t).sqrt()
    return alpha_s.sqrt() * (z_t / alpha_t.sqrt() + slope * eps_hat)


def in_place(z_t, eps_hat, alpha_s, alpha_t):
    return (
        z_t.sub_((1 - alpha_t).sqrt() * eps_hat).mul_((alpha_s / alpha_t).sqrt()).add_((1 - alpha_s).sqrt() * eps_hat)
    )


@pytest.mark.parametrize("right", [by_scaling, in_place])
def test_right_steps(right):
    passes(ex1_2, right)


STEP = ddim.step_with


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda *inputs: ddim.right(*inputs) + torch.randn(()), "draws fresh noise"),
        (ddim.posterior_mean, "the cloud shrinks"),
        (STEP(clean=lambda z, e, t: (z - (1 - t).sqrt() * e) / t), "not by alpha_t"),
        (STEP(clean=lambda z, e, t: (z - (1 - t) * e) / t.sqrt()), "enters with sqrt(1 - alpha_t)"),
        (STEP(clean=lambda z, e, t: z - (1 - t).sqrt() * e), "what is left after the noise"),
        (STEP(noise=lambda s, t: (1 - t).sqrt()), "at the level of t"),
        (STEP(noise=lambda s, t: 0 * s), "no noise left"),
        (STEP(signal=lambda s: 1 + 0 * s, noise=lambda s, t: 0 * s), "all the way to the data"),
        (STEP(signal=lambda s: s, noise=lambda s, t: 1 - s), "The square roots are missing"),
        (lambda z, e, s, t: s * (z - (1 - t) * e) / t + (1 - s) * e, "All square roots are missing"),
        (lambda z, e, s, t: ddim.right(z, e, t, s), "alpha_s and alpha_t have changed places"),
        (lambda *inputs: 1.01 * ddim.right(*inputs), "With alpha_s ="),
    ],
)
def test_wrong_steps(wrong, message):
    is_told(ex1_2, wrong, message)


# 1.3 eps_weight(alpha_s, alpha_t)


def by_ddpm(alpha_s, alpha_t):
    """beta^2 / (2 sigma^2 alpha (1 - alpha-bar)) with the posterior's variance (Ho et al. 2020, Eq. 12)."""
    ratio = alpha_t / alpha_s
    variance = (1 - alpha_s) * (1 - ratio) / (1 - alpha_t)
    return (1 - ratio) ** 2 / (2 * variance * ratio * (1 - alpha_t))


def test_right_weights():
    passes(ex1_3, by_ddpm)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda s, t: 2 * by_ddpm(s, t), "A factor 1/2"),
        (lambda s, t: -by_ddpm(s, t), "The sign is wrong"),
        (lambda s, t: by_ddpm(s, t) * t / (1 - t), "weight of the x error"),
        (lambda s, t: by_ddpm(s, t) * (t / (1 - t)) ** 2, "Multiply or divide"),
        (lambda s, t: by_ddpm(s, t) * t / (1 - t) * (1 - s) / s, "not by SNR(s)"),
        (lambda s, t: (s - t) / (2 * t * (1 - t)), "large variance"),
        (lambda s, t: by_ddpm(s, t) * t, "a v error"),
        (lambda s, t: by_ddpm(t, s), "alpha_s and alpha_t have changed places"),
        (lambda s, t: 1.01 * by_ddpm(s, t), "times the squared"),
    ],
)
def test_wrong_weights(wrong, message):
    is_told(ex1_3, wrong, message)


# 1.4 equal_cost(log_snr, rate, T)


def by_numpy(log_snr, rate, T):
    import numpy as np

    area = np.concatenate([[0], np.cumsum((rate[1:] + rate[:-1]) / 2 * log_snr.diff())])
    return torch.from_numpy(np.interp(np.linspace(area[-1], 0, T + 1), area, log_snr))


def nearest_on_a_fine_grid(log_snr, rate, T):
    fine = torch.linspace(float(log_snr[0]), float(log_snr[-1]), 20_001, dtype=torch.float64)
    height = equal_steps.interpolated(log_snr, rate, fine)
    area = height.cumsum(0)
    return torch.stack([fine[(area - area[0] - share * (area[-1] - area[0])).abs().argmin()]
                        for share in torch.linspace(1, 0, T + 1)])  # fmt: skip


def on_the_grid(log_snr, rate, T):
    return log_snr[(by_numpy(log_snr, rate, T)[:, None] - log_snr).abs().argmin(1)]


@pytest.mark.parametrize("right", [by_numpy, nearest_on_a_fine_grid])
def test_right_choices(right):
    passes(ex1_4, right)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda *inputs: by_numpy(*inputs).flip(0), "in the wrong order"),
        (lambda *inputs: by_numpy(*inputs)[:-1], "T + 1 ends"),
        (equal_steps.even, "evenly spaced"),
        (equal_steps.inverted, "the other way round"),
        (equal_steps.per_point, "rate times width"),
        (equal_steps.by_rate, "spaced the rate evenly"),
        (equal_steps.left_heights, "as high as the rate at one edge"),
        (on_the_grid, "points of the grid"),
        (lambda *inputs: 0.9 * by_numpy(*inputs), "first log-SNR must be the largest"),
    ],
)
def test_wrong_choices(wrong, message):
    is_told(ex1_4, wrong, message)


# 1.5 my_plan() -> (times, eta)


@pytest.fixture(scope="module")
def ex1_5():
    return lesson_01.ex1_5(COSINE, study.islands(), samples=1500)


def powers(p, eta, n=8):
    return lambda: (torch.linspace(1, 0, n + 1, dtype=torch.float64)[:-1] ** p, eta)


@pytest.mark.parametrize("right", [eight_calls.reference, powers(1.8, 1.0)])
def test_right_plans(ex1_5, right):
    passes(ex1_5, right)
    assert "of your points are at sea" in ex1_5.praise


@pytest.mark.parametrize(
    "wrong, message",
    [
        (powers(1.0, 0.0), "no better yet"),
        (powers(0.7, 1.0), "no better yet"),
        (powers(1.6, 1.0, 12), "exactly 8 times"),
        (lambda: (torch.linspace(1, 0, 9), 1.0), "The step to 0 is added"),
        (lambda: (torch.linspace(0.1, 1, 8), 1.0), "Your times rise"),
        (lambda: (torch.linspace(1, 0.1, 8), 2.0), "eta lies between"),
        (lambda: torch.linspace(1, 0.1, 8), "Return a pair"),
        (powers(6.0, 1.0), "at sea"),
    ],
)
def test_wrong_plans(ex1_5, wrong, message):
    is_told(ex1_5, wrong, message)


# The study


def test_true_points_are_on_the_islands():
    x = study.islands().sample(20_000, generator=torch.Generator().manual_seed(0))
    assert study.at_sea(x) < 1e-3 and study.at_sea(torch.zeros(5, 2)) == 1
    assert abs(study.sample_quality(x, 0)["large_islands"] - 2 / 3) < 0.02
    assert torch.allclose(x.var(0), torch.ones(2, dtype=torch.float64), atol=0.03)


def test_the_sliced_distance_of_a_shift_is_its_mean_projection():
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert study.sliced_distance(x, x.flip(0)) == 0
    assert abs(study.sliced_distance(x, x + torch.tensor([1.0, 0.0])) - 2 / torch.pi) < 0.1


def test_simple_is_the_eps_error_whatever_the_network_answers():
    net, x = study.PointNet(), study.islands().sample(64, generator=torch.Generator().manual_seed(1)).float()
    t, generator = torch.linspace(0.05, 0.95, 64), torch.Generator()
    process = GaussianProcess(study.SCHEDULES["cosine"])
    loss = study.loss_of(study.Variant("simple", "v", "cosine"), process, net, x, t, generator.manual_seed(2))
    z_t = process.corrupt(x, t, generator.manual_seed(2))
    x_hat = process.to_x(z_t, net(z_t, t), t, "v")
    error = process.to_eps(z_t, x, t) - process.to_eps(z_t, x_hat, t)
    assert torch.allclose(loss, (error**2).mean(), rtol=1e-4)


@pytest.mark.parametrize("loss", ["simple", "bound", "hybrid", "own"])
def test_every_loss_trains(loss, monkeypatch):
    monkeypatch.setitem(study.SETTINGS, "T", 20)
    variant = study.Variant(loss, "v", "cosine")
    process, x = GaussianProcess(study.SCHEDULES["cosine"]), study.islands().sample(512).float()
    t = torch.linspace(0.01, 0.99, 512)

    def value(steps):
        net = study.train(variant, seed=0, steps=steps)
        with torch.no_grad():
            return study.loss_of(variant, process, net, x, t, torch.Generator().manual_seed(3)).item()

    assert value(60) < value(1)


def test_the_tables_and_pictures_read_what_the_study_writes(monkeypatch):
    """On made-up figures, written to JSON and back: every picture of the lesson finds its rows."""
    samples = [{"eta": eta, "calls": calls, "at_sea": 0.1, "distance": 0.05, "large_islands": 0.6}
               for eta in (0.0, 1.0) for calls in study.SETTINGS["calls"]]  # fmt: skip
    score = {"bound": 0.2, "excess": 0.1, "standard_error": 0.01, "prior": 0.0, "reconstruction": -1.0}
    errors = [{"t": t, "excess": 0.01, "best": 0.5} for t in (0.1, 0.5, 0.9)]
    names = [("none", "exact", s) for s in study.SCHEDULES] + [(v.loss, v.kind, v.schedule) for v in study.VARIANTS]
    rows = [{"loss": loss, "kind": kind, "schedule": schedule, "seed": seed, "samples": samples, "errors": errors,
             "bounds": dict.fromkeys(("small", "large", "learned", "best"), score)}
            for seed in study.SEEDS for loss, kind, schedule in names]  # fmt: skip
    rows += [{"loss": "none", "kind": "truth", "seed": seed, **samples[0]} for seed in study.SEEDS]
    stored = json.loads(json.dumps({"settings": {**study.SETTINGS, "entropy": 0.1}, "runs": rows, "command": "again"}))
    for table in (pictures.objectives, pictures.output_table, pictures.step_table, pictures.variances):
        assert "nan" not in table(stored)
    for picture in (pictures.outputs, pictures.steps):
        figure, alt, caption = picture(stored)
        assert "nan" not in alt and "again" in caption
        pictures.plt.close(figure)


# The widget


def test_the_same_noise_at_every_t():
    x = study.islands().sample(5, generator=torch.Generator().manual_seed(0))
    early, late = (widgets_gaussian.noisy_points(x, t, COSINE, seed=3) for t in (0.3, 0.7))
    times = [torch.full((5,), t) for t in (0.3, 0.7)]
    assert torch.allclose(COSINE.to_eps(early, x, times[0]), COSINE.to_eps(late, x, times[1]), atol=1e-9)


def test_the_slider_redraws_and_the_button_draws_other_points():
    box = widgets_gaussian.noise_controls(study.islands(), COSINE)
    slider, button = box.children[0].children
    picture = box.children[1]
    seen = [picture.value]
    slider.value = 0.8
    seen.append(picture.value)
    button.click()
    seen.append(picture.value)
    assert len(set(seen)) == 3 and all(bytes(value[:4]) == b"\x89PNG" for value in seen)


def test_the_static_twin_comes_first_and_alone_where_there_is_no_kernel(monkeypatch):
    shown, live = [], []
    monkeypatch.setattr(widgets_gaussian, "show", lambda figure, alt, caption: shown.append((alt, caption)))
    monkeypatch.setattr(widgets_gaussian, "display", live.append)
    monkeypatch.setenv("DIFFLM_STATIC", "1")
    widgets_gaussian.noise_explorer(study.islands(), COSINE)
    assert len(shown) == 1 and not live and "t = 0.75" in shown[0][0]
    monkeypatch.delenv("DIFFLM_STATIC")
    monkeypatch.delenv("CI", raising=False)
    widgets_gaussian.noise_explorer(study.islands(), COSINE)
    assert len(shown) == 2 and len(live) == 1


def test_the_widget_needs_the_plane():
    line = study.GaussianMixture(torch.ones(1), torch.zeros(1, 1), torch.ones(1, 1, 1))
    with pytest.raises(ValueError, match="1 coordinates"):
        widgets_gaussian.noise_explorer(line, COSINE)
