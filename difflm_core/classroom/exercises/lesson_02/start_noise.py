"""Exercise 2.1: sigma_0 as the released code of Diffusion-LM has it, the noise of the first step of its chain."""

import math

from difflm_core.classroom.checks import Check

CASES = [(2000, 1e-4), (200, 1e-4), (1000, 1e-2)]


def signal(t: float, s: float) -> float:
    return 1 - math.sqrt(t + s)


def reference(T: int, s: float) -> float:
    return math.sqrt(1 - signal(1 / T, s) / signal(0, s))


def test(start_noise):
    found = [(float(start_noise(*case)), reference(*case), case) for case in CASES]
    value, truth, (T, s) = max(found, key=lambda row: math.inf if math.isnan(row[0]) else abs(row[0] / row[1] - 1))
    assert math.isclose(value, truth, rel_tol=1e-5), (
        f"For T = {T} and s = {s:g} the deviation is {truth:.5f}; yours is {value:.5f}."
    )


def gives(wrong):
    """A probe: the attempt gives what `wrong` gives, in every case."""
    return lambda start_noise: all(math.isclose(float(start_noise(*c)), wrong(*c), rel_tol=1e-5) for c in CASES)


MISTAKES = [
    (
        gives(lambda T, s: math.sqrt(1 - signal(0, s))),
        "That is the noise of the formula at t = 0, the paper's 0.1. The code builds betas, and a beta knows only the"
        " ratio of two neighbours: alpha(1/T) / alpha(0).",
    ),
    (
        gives(lambda T, s: math.sqrt(1 - signal(1 / T, s))),
        "alpha(1/T) of the formula is not what the chain has: it starts from 1, so its first value is alpha(1/T) /"
        " alpha(0).",
    ),
    (
        gives(lambda T, s: 1 - signal(1 / T, s) / signal(0, s)),
        "That is beta_1, a variance. The deviation is its square root.",
    ),
    (
        gives(lambda T, s: math.sqrt(signal(1 / T, s) / signal(0, s))),
        "That is the signal, sqrt(1 - beta_1). The noise is sqrt(beta_1).",
    ),
    (
        gives(lambda T, s: math.sqrt(signal(0, s) / signal(1 / T, s) - 1)),
        "The ratio is upside down: alpha(1/T) / alpha(0), which is below 1.",
    ),
    (
        gives(lambda T, s: math.sqrt(signal(0, s) - signal(1 / T, s))),
        "You took a difference of alphas. Signals multiply along a chain, so the step is a ratio.",
    ),
]

ex2_1 = Check(
    "2.1",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "beta_1 = 1 - alpha(1/T) / alpha(0) with alpha(t) = 1 - sqrt(t + s).",
        "sigma_0 is the standard deviation that belongs to the variance beta_1.",
        "math.sqrt(1 - (1 - math.sqrt(1 / T + s)) / (1 - math.sqrt(s)))",
    ],
    reference=reference,
    praise="0.1210 for the paper's T = 2,000 and s = 1e-4, where the text of the paper says 0.1.",
)
