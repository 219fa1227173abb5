"""Exercise 8.1: the weight of the bound, -alpha'/(1 - alpha), for any schedule."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import close
from difflm_core.processes import Cosine, Linear, ShiftedCosine

T = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)


class Cubic:
    """alpha = 1 - t^3: a schedule that the student has not seen."""

    def alpha(self, t):
        return 1 - t**3

    def dalpha(self, t):
        return -3 * t**2


SCHEDULES = (Linear(), Cosine(), ShiftedCosine(3.0), Cubic())


def right(schedule, t):
    return -schedule.dalpha(t) / (1 - schedule.alpha(t))


def test(weight):
    for schedule in SCHEDULES:
        value = torch.as_tensor(weight(schedule, T.clone()))
        name = type(schedule).__name__
        assert value.shape == T.shape, f"weight must be shaped like t, {tuple(T.shape)}, and is {tuple(value.shape)}."
        truth = right(schedule, T)
        off = (value.double() / truth - 1).abs()
        worst = 9 if off[9] > 1e-3 else int(off.argmax())  # t = 0.5 if it shows there
        assert close(value, truth), (
            f"On the schedule {name} at t = {T[worst]:g} the weight is {truth[worst]:.3f}, yours is {value[worst]:.3f}."
        )


def is_like(wrong):
    """A probe: the attempt gives what `wrong` gives, on every schedule."""
    return lambda weight: all(close(weight(schedule, T.clone()), wrong(schedule, T)) for schedule in SCHEDULES)


MISTAKES = [
    (
        is_like(lambda schedule, t: torch.ones_like(t)),
        "Your weight is 1 at all times, so there is none. A text with few masks tells little in one draw, and must"
        " count more for the sum to be a bound.",
    ),
    (
        is_like(lambda schedule, t: 1 / t),
        "1/t is right for the linear schedule only. Use schedule.alpha(t) and schedule.dalpha(t), whatever they are.",
    ),
    (
        is_like(lambda schedule, t: -right(schedule, t)),
        "The sign is wrong: alpha falls, so alpha' is negative, and a loss needs a positive weight.",
    ),
    (
        is_like(lambda schedule, t: 1 / (1 - schedule.alpha(t))),
        "The derivative is missing. On the linear schedule -alpha' = 1 and nothing shows; on another one masks arrive"
        " at a rate of -alpha'.",
    ),
    (
        is_like(lambda schedule, t: -schedule.dalpha(t) / schedule.alpha(t)),
        "You divided by alpha, the share of visible tokens. The loss sits on masked tokens: divide by their share,"
        " 1 - alpha.",
    ),
    (
        is_like(lambda schedule, t: -schedule.dalpha(t)),
        "You have the rate -alpha' at which masks arrive, but did not divide by the share of masked tokens, 1 - alpha.",
    ),
]

ex8_1 = Check(
    "8.1",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "The weight has two parts: how fast tokens are being masked at t, and how many are masked already.",
        "How fast: -schedule.dalpha(t). How many: 1 - schedule.alpha(t). Divide the first by the second.",
    ],
    reference=right,
    praise="On the linear schedule it is 1/t, on any other -alpha'/(1 - alpha).",
)
