"""Exercise 1.4: log-SNRs between which all steps cost the same, for a rate given on a grid."""

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check

GRID = torch.linspace(-8, 9, 171, dtype=torch.float64)
RATE = 0.5 * torch.sigmoid(1.3 * GRID) + 0.4 * (-((GRID - 2) ** 2)).exp()
UNEVEN = torch.cat([torch.linspace(-8, 0, 41, dtype=torch.float64), torch.linspace(0.02, 9, 450, dtype=torch.float64)])
CASES = [(GRID, RATE, 4), (GRID, RATE, 10), (UNEVEN, 1 + UNEVEN.cos() / 2, 6)]


def right(log_snr, rate, T):
    area = torch.cat([torch.zeros(1, dtype=rate.dtype), torch.cumulative_trapezoid(rate, log_snr)])
    return interpolated(area, log_snr, torch.linspace(1, 0, T + 1, dtype=rate.dtype) * area[-1])


def interpolated(a: Tensor, b: Tensor, at: Tensor) -> Tensor:
    """The piecewise linear function through (a, b), a increasing, at the points `at`."""
    right_of = torch.searchsorted(a, at.contiguous()).clamp(1, len(a) - 1)
    share = (at - a[right_of - 1]) / (a[right_of] - a[right_of - 1])
    return b[right_of - 1] + share.clamp(0, 1) * (b[right_of] - b[right_of - 1])


def costs(levels: Tensor, log_snr: Tensor, rate: Tensor) -> Tensor:
    """Nats between neighbours."""
    area = torch.cat([torch.zeros(1, dtype=rate.dtype), torch.cumulative_trapezoid(rate, log_snr)])
    return -interpolated(log_snr, area, levels).diff()


def answers(choose, case) -> Tensor:
    log_snr, rate, T = case
    return torch.as_tensor(choose(log_snr.clone(), rate.clone(), T)).double()


def test(choose):
    for case in CASES:
        log_snr, rate, T = case
        levels = answers(choose, case)
        assert levels.shape == (T + 1,), f"T steps have T + 1 ends: return {T + 1} log-SNRs for T = {T}."
        assert bool((levels.diff() < 0).all()), "The log-SNRs must fall: from the data (largest) to the noise."
        ends = torch.stack([levels[0] - log_snr[-1], levels[-1] - log_snr[0]]).abs()
        assert bool((ends < 1e-3).all()), "The first log-SNR must be the largest of the grid, the last the smallest."
        cost = costs(levels, log_snr, rate)
        assert float(cost.max() / cost.min()) < 1.02, (
            f"The {T} steps should cost the same; yours cost between {cost.min():.3f} and {cost.max():.3f} nats."
        )


def is_like(wrong):
    """A probe: the attempt and the wrong function agree in every case, within what interpolation leaves open."""
    return lambda choose: all(
        torch.allclose(answers(choose, case), wrong(*case).double(), atol=0.02, rtol=0) for case in CASES
    )


def even(log_snr, rate, T):
    return torch.linspace(float(log_snr[-1]), float(log_snr[0]), T + 1)


def inverted(log_snr, rate, T):
    return right(log_snr, 1 / rate, T)


def per_point(log_snr, rate, T):
    """Sums of the rate over grid points, as if the grid were even."""
    area = rate.cumsum(0) - rate[0]
    return interpolated(area, log_snr, torch.linspace(1, 0, T + 1, dtype=rate.dtype) * area[-1])


def left_heights(log_snr, rate, T):
    """Areas of rectangles as high as the rate at their left edge."""
    area = torch.cat([torch.zeros(1, dtype=rate.dtype), (rate[:-1] * log_snr.diff()).cumsum(0)])
    return interpolated(area, log_snr, torch.linspace(1, 0, T + 1, dtype=rate.dtype) * area[-1])


def only_grid_points(choose) -> bool:
    """The numbers are points of the grid, all of them."""
    return all(bool(torch.isclose(answers(choose, case)[:, None], case[0], atol=1e-6).any(1).all()) for case in CASES)


def by_rate(log_snr, rate, T):
    """Equal steps of the rate itself instead of its area."""
    order, wanted = rate.argsort(), torch.linspace(float(rate.max()), float(rate.min()), T + 1, dtype=rate.dtype)
    return interpolated(rate[order], log_snr[order], wanted)


MISTAKES = [
    (
        lambda choose: all(
            torch.allclose(answers(choose, case).flip(0), right(*case), atol=0.05, rtol=0) for case in CASES
        ),
        "Right numbers in the wrong order: from the largest log-SNR, the data, to the smallest.",
    ),
    (
        lambda choose: all(answers(choose, case).shape == (case[2],) for case in CASES),
        "You return T numbers. T steps have T + 1 ends.",
    ),
    (
        is_like(even),
        "Your log-SNRs are evenly spaced, so that a step costs much where the rate is high. Space the *area* evenly.",
    ),
    (
        is_like(inverted),
        "You made steps long where the rate is high: the other way round.",
    ),
    (
        is_like(per_point),
        "You added up the rate over the points of the grid. An area is rate times width, and the grid need not be even:"
        " torch.cumulative_trapezoid(rate, log_snr).",
    ),
    (
        lambda choose: all(
            torch.allclose(answers(choose, case), left_heights(*case), atol=1e-3, rtol=0) for case in CASES
        ),
        "Your rectangles are as high as the rate at one edge. Between two points of the grid take the mean of both"
        " rates: torch.cumulative_trapezoid(rate, log_snr).",
    ),
    (
        only_grid_points,
        "You take points of the grid. The ends of equal steps lie between them: interpolate.",
    ),
    (
        is_like(by_rate),
        "You spaced the rate evenly. What a step costs is the *area* under the rate.",
    ),
]

ex1_4 = Check(
    "1.4",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "area = cumulative trapezoid of the rate: the nats below each log-SNR. It rises from 0.",
        "You want the log-SNRs at which the area is total * 1, total * (T - 1)/T, ..., 0.",
        "torch.searchsorted(area, wanted) finds the interval; interpolate linearly in it.",
    ],
    reference=right,
    praise="Every step is now worth the same number of nats.",
)
