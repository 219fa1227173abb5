"""Exercise 1.1: the mean of q(z_s | z_t, x), judged against the package's, which the tests hold to Bayes' rule."""

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check, behaves_like
from difflm_core.classroom.exercises.lesson_01.levels import ALPHA_S, ALPHA_T, PROCESS, S, T, column, points

Z, X = points(1), points(2)
INPUTS = (Z, X, column(ALPHA_S), column(ALPHA_T))


def mean_with(
    ratio=lambda s, t: t / s,
    of_x=lambda s, t, r: s.sqrt() * (1 - r),
    of_z=lambda s, t, r: r.sqrt() * (1 - s),
    rest=lambda s, t: 1 - t,
):
    """The mean, with parts that can be got wrong: the ratio alpha_{t|s}, the two numerators, the denominator."""

    def mean(z_t, x, alpha_s, alpha_t):
        r = ratio(alpha_s, alpha_t)
        return (of_x(alpha_s, alpha_t, r) * x + of_z(alpha_s, alpha_t, r) * z_t) / rest(alpha_s, alpha_t)

    return mean


right = mean_with()


def swapped(z_t, x, alpha_s, alpha_t):
    return right(x, z_t, alpha_s, alpha_t)


def no_roots(z_t, x, alpha_s, alpha_t):
    r = alpha_t / alpha_s
    return (alpha_s * (1 - r) * x + r * (1 - alpha_s) * z_t) / (1 - alpha_t)


def test(mean):
    given = torch.as_tensor(mean(*(value.clone() for value in INPUTS))).double()
    assert given.shape == Z.shape, f"Return one mean for each coordinate, shaped {tuple(Z.shape)}."
    truth: Tensor = PROCESS.posterior(Z, X, S, T)[0]
    row, place = [int(i) for i in torch.unravel_index((given - truth).abs().argmax(), truth.shape)]
    assert torch.allclose(given, truth, atol=1e-6), (
        f"With alpha_s = {ALPHA_S[row]:g} and alpha_t = {ALPHA_T[row]:g}, z_t = {Z[row, place]:.3f} and x ="
        f" {X[row, place]:.3f} the mean is {truth[row, place]:.4f}; yours is {given[row, place]:.4f}."
    )


MISTAKES = [
    (
        behaves_like(mean_with(ratio=lambda s, t: t), *INPUTS),
        "You used alpha_t where the jump from s to t is meant: the ratio is alpha_{t|s} = alpha_t / alpha_s.",
    ),
    (
        behaves_like(mean_with(ratio=lambda s, t: s / t), *INPUTS),
        "The ratio is upside down: alpha_{t|s} = alpha_t / alpha_s, and below 1.",
    ),
    (
        behaves_like(mean_with(of_z=lambda s, t, r: r * (1 - s)), *INPUTS),
        "In front of z_t the root of the ratio is missing: sqrt(alpha_{t|s}).",
    ),
    (
        behaves_like(no_roots, *INPUTS),
        "The square roots are missing. alpha is a *squared* level: x enters z_s as sqrt(alpha_s) x.",
    ),
    (
        behaves_like(mean_with(of_x=lambda s, t, r: 1 - r), *INPUTS),
        "The factor sqrt(alpha_s) in front of x is missing: the compromise is with sqrt(alpha_s) x, not with x.",
    ),
    (
        behaves_like(mean_with(of_z=lambda s, t, r: 1 - s), *INPUTS),
        "The factor sqrt(alpha_{t|s}) in front of z_t is missing.",
    ),
    (behaves_like(swapped, *INPUTS), "x and z_t have changed places."),
    (
        behaves_like(lambda z_t, x, alpha_s, alpha_t: right(z_t, x, alpha_t, alpha_s), *INPUTS),
        "alpha_s and alpha_t have changed places: s is the earlier, cleaner time, so alpha_s is the larger one.",
    ),
    (
        behaves_like(mean_with(rest=lambda s, t: 1 - s), *INPUTS),
        "The denominator belongs to t: 1 - alpha_t, all the noise there is in z_t.",
    ),
    (
        behaves_like(mean_with(rest=lambda s, t: torch.ones_like(t)), *INPUTS),
        "Divide by 1 - alpha_t: without it the two weights are precisions, not shares.",
    ),
    (
        behaves_like(lambda z_t, x, alpha_s, alpha_t: alpha_s.sqrt() * x, *INPUTS),
        "This is the mean of z_s given x alone. z_t is evidence too.",
    ),
]

ex1_1 = Check(
    "1.1",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "ratio = alpha_t / alpha_s plays the role of DDPM's 1 - beta.",
        "The mean is (A x + B z_t) / (1 - alpha_t).",
        "A = sqrt(alpha_s) (1 - ratio), B = sqrt(ratio) (1 - alpha_s).",
    ],
    reference=right,
    praise="The network's guess in the place of x makes it DDPM's reverse step.",
)
