"""The exercises of lesson 07: right answers pass however they are written, and each usual mistake is named."""

import itertools

import pytest
import torch
from judging import is_told, passes

from difflm_core.classroom.exercises.lesson_07 import ex7_1, ex7_2, ex7_3, ex7_4, four_steps
from difflm_core.evaluation import estimate_nelbo
from difflm_core.models import LeaveOneOut
from difflm_core.objectives import d3pm_nelbo
from difflm_core.processes import matrices

# 7.1 total_noise(betas)


def by_a_loop(betas):
    alpha, total = 1.0, []
    for beta in betas.tolist():
        alpha *= 1 - beta
        total.append(1 - alpha)
    return torch.tensor(total)


@pytest.mark.parametrize(
    "right", [matrices.total_noise, by_a_loop, lambda betas: 1 - (1 - betas).log().cumsum(0).exp()]
)
def test_right_totals(right):
    passes(ex7_1, right)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda betas: betas.cumsum(0), "does not add up"),
        (lambda betas: (1 - betas).cumprod(0), "what survives"),
        (lambda betas: betas.cumprod(0), "*every* step"),
        (lambda betas: torch.cat([betas[:1] * 0, matrices.total_noise(betas)[:-1]]), "Shifted by one"),
        (lambda betas: 1 - (1 - betas).prod(), "Only one number"),
        (lambda betas: torch.cat([betas[:1] * 0, matrices.total_noise(betas)]), "one number for each"),
        (lambda betas: 0.9 * matrices.total_noise(betas), "After two steps of"),
    ],
)
def test_wrong_totals(wrong, message):
    is_told(ex7_1, wrong, message)


# 7.2 reverse_law(Q_t, Qbar_s, z, x)


def with_one_hot_vectors(Q_t, Qbar_s, z, x):
    z, x = (torch.nn.functional.one_hot(ids, len(Q_t)).double() for ids in (z, x))
    joint = (z @ Q_t.T) * (x @ Qbar_s)
    return joint / ((x @ Qbar_s @ Q_t) * z).sum(-1, keepdim=True)


def by_enumeration(Q_t, Qbar_s, z, x):
    law = torch.zeros(*z.shape, len(Q_t), dtype=torch.float64)
    for row, place, then in itertools.product(range(len(z)), range(z.shape[1]), range(len(Q_t))):
        law[row, place, then] = Qbar_s[x[row, place], then] * Q_t[then, z[row, place]]
    return law / law.sum(-1, keepdim=True)


@pytest.mark.parametrize("right", [matrices.posterior, with_one_hot_vectors, by_enumeration])
def test_right_reverse_laws(right):
    passes(ex7_2, right)


def normal(joint):
    return joint / joint.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda Q, Qbar, z, x: Q.T[z] * Qbar[x], "Not normalised"),
        (lambda Q, Qbar, z, x: normal(Q[z] * Qbar[x]), "its column"),
        (lambda Q, Qbar, z, x: normal(Q.T[z] * (Qbar @ Q)[x]), "has the step in it already"),
        (lambda Q, Qbar, z, x: normal(Q.T[z] * Qbar.T[x]), "You took the column"),
        (lambda Q, Qbar, z, x: Qbar[x], "z_t is not used"),
        (lambda Q, Qbar, z, x: normal(Q.T[z]), "x is not used"),
        (lambda Q, Qbar, z, x: normal(Q.T[z] + Qbar[x]), "not added"),
        (lambda Q, Qbar, z, x: normal(Q.T[x] * Qbar[z]), "x and z_t are exchanged"),
        (lambda Q, Qbar, z, x: Q.T[z] * Qbar[x] / Qbar[x, z][..., None], "before the step. The divisor"),
        (lambda Q, Qbar, z, x: (Q.T[z] * Qbar[x]).softmax(-1), "not logits"),
        (lambda Q, Qbar, z, x: normal(Q.T[z] * Qbar[x] ** 2), "the chance of"),
        (lambda Q, Qbar, z, x: matrices.posterior(Q, Qbar, z, x)[..., :-1], "shaped"),
    ],
)
def test_wrong_reverse_laws(wrong, message):
    is_told(ex7_2, wrong, message)


# 7.3 mixture(Q_t, Qbar_s, z, p)


def one_x_at_a_time(Q_t, Qbar_s, z, p):
    given_x = [matrices.posterior(Q_t, Qbar_s, z, torch.full_like(z, v)) for v in range(p.shape[-1])]
    return (torch.stack(given_x, -2) * p[..., None]).sum(-2)


@pytest.mark.parametrize("right", [matrices.posterior_mixture, one_x_at_a_time])
def test_right_mixtures(right):
    passes(ex7_3, right)


def plug(Q, Qbar, z, p):
    return normal(Q.T[z] * (p @ Qbar))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (plug, "That is the plug-in"),
        (lambda Q, Qbar, z, p: plug(Q, Qbar, z, p * (Qbar @ Q).T[z]), "multiplies it in again"),
        (lambda Q, Qbar, z, p: plug(Q, Qbar, z, p / Q.T[z]), "the last step alone"),
        (lambda Q, Qbar, z, p: plug(Q, Qbar, z, p / Qbar.T[z]), "the last step is missing"),
        (lambda Q, Qbar, z, p: matrices.posterior(Q, Qbar, z, p.argmax(-1)), "All x count"),
        (lambda Q, Qbar, z, p: Q.T[z] * (p @ Qbar), "does not sum to 1"),
        (lambda Q, Qbar, z, p: Q.T[z] * (p / (Qbar @ Q)[z] @ Qbar), "a row of Qbar_t"),
        (lambda Q, Qbar, z, p: plug(Q, Qbar, z, p / (Qbar @ Q)[z]), "a row of Qbar_t"),
        (lambda Q, Qbar, z, p: Q.T[z] * (p / (Q @ Qbar).T[z] @ Qbar), "in the order of time"),
        (lambda Q, Qbar, z, p: normal(Q[z] * (p / (Qbar @ Q).T[z] @ Qbar)), "where z_t goes next"),
        (lambda Q, Qbar, z, p: p, "the chance of"),
    ],
)
def test_wrong_mixtures(wrong, message):
    is_told(ex7_3, wrong, message)


# 7.4 my_betas(gap)


def total(*noise):
    return lambda gap: matrices.step_noise(torch.tensor(noise, dtype=torch.float64))


def by_trial(gap):
    grid = itertools.product((0.1, 0.15), (0.3, 0.35), (0.5, 0.6))
    return min((matrices.step_noise(torch.tensor([*noise, 1.0]).double()) for noise in grid), key=gap)


@pytest.mark.parametrize("right", [total(0.14, 0.30, 0.51, 1.0), total(0.15, 0.32, 0.55, 1.0), by_trial])
def test_good_steps(right):
    passes(ex7_4, right)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda gap: matrices.cosine_betas(4), "the cosine itself"),
        (lambda gap: matrices.reciprocal_betas(4), "schedule for masks"),
        (lambda gap: torch.tensor([0.14, 0.30, 0.51, 1.0]), "step_noise(total)"),
        (total(0.1, 0.2, 0.3, 0.4), "L_T pays"),
        (total(0.4, 0.6, 0.8, 1.0), "Your total noise is"),
        (lambda gap: torch.tensor([0.2, 0.3, 1.0]), "Return 4 betas"),
        (lambda gap: torch.tensor([0.0, 0.3, 0.5, 1.0]), "lies in (0, 1]"),
    ],
)
def test_bad_steps(wrong, message):
    is_told(ex7_4, wrong, message)


def test_the_gap_is_that_of_the_package():
    """Summed over all texts, against the package's estimator with the package's exact denoiser."""
    language, betas = four_steps.mini_language(), matrices.cosine_betas(4)
    process = matrices.MatrixProcess(matrices.uniform(2, betas), 2)
    denoiser = LeaveOneOut(language.denoiser(process), process)
    texts = list(language.sample(20_000, generator=torch.Generator().manual_seed(0)).split(2_000))
    estimate = estimate_nelbo(
        lambda x, t, g: d3pm_nelbo(process, denoiser, x, t, 4, g), texts, 4, torch.Generator().manual_seed(1)
    )
    exact_of_texts = -sum(language.log_prob(x).sum().item() for x in texts) / estimate.tokens
    expected = four_steps.gap(betas) / 3
    assert abs(estimate.mean - exact_of_texts - expected) < 4 * estimate.standard_error + 1e-3
    assert expected == pytest.approx(0.0945078 / 3, abs=1e-6)
