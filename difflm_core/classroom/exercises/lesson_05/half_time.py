"""Exercise 5.1: the time at which tan-d leaves half of the signal's square."""

import math
from collections.abc import Callable

from difflm_core.classroom.checks import Check

DS = (0.5, 1.0, 3.0, 5.0, 9.0)


def reference(d):
    return 2 / math.pi * math.atan(1 / d)


def like(wrong: Callable) -> Callable:
    return lambda attempt: all(abs(float(attempt(d)) - wrong(d)) < 1e-4 for d in DS)


def test(attempt):
    for d in DS:
        value = float(attempt(d))
        alpha = 1 / (1 + d**2 * math.tan(math.pi * value / 2) ** 2)
        assert 0 < value < 1, f"A time lies between 0 and 1, but for d = {d:g} yours is {value:.3f}."
        assert abs(alpha - 0.5) < 1e-4, f"At your time for d = {d:g}, t = {value:.3f}, alpha is {alpha:.3f}, not 0.5."


ex5_1 = Check(
    "5.1",
    test=test,
    mistakes=[
        (like(lambda d: math.atan(1 / d)), "That is the angle pi t / 2. Solve for t: multiply by 2 / pi."),
        (
            like(lambda d: 2 / math.pi * math.atan(d)),
            "d and 1 / d are swapped: a larger d must halve the signal sooner.",
        ),
        (
            like(lambda d: 2 / math.pi * math.atan(1 / d**2)),
            "d is squared once too often: alpha has d^2 tan^2, and d tan = 1 follows.",
        ),
        (like(lambda d: 180 / math.pi * math.atan(1 / d)), "You work in degrees. math.atan answers in radians."),
    ],
    hints=[
        "alpha = 1/2 where d^2 tan^2(pi t / 2) = 1.",
        "tan(pi t / 2) = 1 / d. The inverse of the tangent is math.atan.",
    ],
    reference=reference,
    praise="tan-9 has lost half of it by t = 0.07, tan-3 by 0.20, the cosine at 0.50.",
)
