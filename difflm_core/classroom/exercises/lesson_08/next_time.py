"""Exercise 8.4: the first-hitting time. Judged as a distribution: 1 - u is as uniform as u, so both must pass.

The attempt is run on an even grid of u, in two orders. A function that turns a uniform u into the right tau turns the
grid into the right quantiles, whichever way round: sorted, they are compared with t * grid^(1/n).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

N = 1000
GRID = (torch.arange(N, dtype=torch.float64) + 0.5) / N
SHUFFLED = GRID[torch.randperm(N, generator=seeded(0))]
CASES = [(t, n) for t in (1.0, 0.37) for n in (1, 2, 5, 12)]


def run(next_time, t: float, n: int) -> Float[Tensor, "N"]:
    """The answer for N rows that all have this t and n, in the order of SHUFFLED."""
    tau = next_time(torch.full((N,), t, dtype=torch.float64), torch.full((N,), n), SHUFFLED.clone())
    return torch.as_tensor(tau, dtype=torch.float64).expand(N)


def quantiles(next_time, t: float, n: int) -> Float[Tensor, "N"]:
    return run(next_time, t, n).sort().values


def test(next_time):
    for t, n in CASES:
        tau = quantiles(next_time, t, n)
        assert torch.equal(run(next_time, t, n), run(next_time, t, n)), "u must be the only source of chance."
        assert bool(((tau >= 0) & (tau <= t)).all()), f"The next time must lie between 0 and t = {t}."
        off = float((tau - t * GRID ** (1 / n)).abs().max())
        assert off < 1e-3, (
            f"With n = {n} masks left at t = {t:g} the next time is {t * n / (n + 1):.3f} on average; yours is"
            f" {float(tau.mean()):.3f}. P(tau < v) must be (v/t)^n: all n tokens must be hit below v."
        )


def is_like(wrong):
    """A probe: the same distribution as wrong(t, n, u), at every t and n."""
    return lambda next_time: all(
        bool((quantiles(next_time, t, n) - wrong(t, n, GRID).sort().values).abs().max() < 1e-3) for t, n in CASES
    )


def ignores_u(next_time):
    return all(float(run(next_time, t, n).std()) < 1e-6 for t, n in CASES)


def subtracts(next_time):
    """The distance to t is the same at every t, as in t - something."""
    return all(
        torch.allclose(1.0 - run(next_time, 1.0, n), t - run(next_time, t, n), atol=1e-6) for t, n in CASES if t != 1.0
    )


MISTAKES = [
    (
        lambda next_time: not torch.equal(run(next_time, 1.0, 5), run(next_time, 1.0, 5)),
        "Two calls with the same u give different times. Draw nothing yourself: u is the only source of chance.",
    ),
    (
        is_like(lambda t, n, u: t * u),
        "t * u is the time of one given token. The next event is the first among n tokens, the largest of n such times,"
        " so n must appear.",
    ),
    (
        is_like(lambda t, n, u: t * u**n),
        "The power is upside down: u**n is far below u, but with many masks the next one falls very soon, just below t."
        " Solve (v/t)^n = u for v.",
    ),
    (
        is_like(lambda t, n, u: t * (1 - u ** (1 / n))),
        "This is the smallest of n times instead of the largest: the token that is revealed last, not next. Going from"
        " t = 1 down to 0, the largest comes first.",
    ),
    (
        is_like(lambda t, n, u: u ** (1 / n)),
        "t is missing: the masks that are left at t all fall between 0 and t, so the largest of them is t * u**(1/n).",
    ),
    (
        is_like(lambda t, n, u: t * u ** (1 / (n + 1))),
        "Off by one: n counts the tokens that are masked now, before the next one is revealed, so the power is 1/n.",
    ),
    (
        ignores_u,
        "Your times do not depend on u: that is a grid of steps. The moments of a continuous process are random.",
    ),
    (
        subtracts,
        "You subtract something from t that does not depend on t, so the time can fall below 0. The times left are"
        " uniform on (0, t): everything scales with t, so multiply.",
    ),
    (
        lambda next_time: all(
            torch.allclose(quantiles(next_time, t, 2), quantiles(next_time, t, 12), atol=1e-3) for t in (1.0, 0.37)
        ),
        "Your times do not depend on n. With 12 masks left the next one falls sooner than with 2.",
    ),
]

ex8_4 = Check(
    "8.4",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Each of the n masked tokens has its own moment, uniform on (0, t). Going down from t, which of them"
        " comes first?",
        "The largest. It is below v exactly if all n are: P(tau < v) = (v/t)^n.",
        "Set (v/t)^n = u and solve for v.",
    ],
    reference=lambda t, n, u: t * u ** (1 / n),
    praise="The largest of n uniform moments, from one uniform number: no empty steps, at most L network calls.",
)
