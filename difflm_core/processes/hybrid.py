"""Uniform noise, and the mixture of mask and uniform noise that lets a token be wrong and later be corrected (GIDD).

`uniform` replaces tokens by random ones (D3PM-uniform, Austin et al. 2021; UDLM). `hybrid` is GIDD's process (von
Ruette et al. 2025):

    q(z_t | x) = ((1 - t) x + t m + c_t u) / C_t,
    c_t = B (t (1 - t))^(gamma / 2),    C_t = 1 + c_t,    B = 2^gamma p_u / (1 - p_u)

with m the mask and u the uniform law over the V clean tokens. At t = 1/2 exactly the share p_u of the tokens is random
and the rest is half data, half mask; at both ends the random share vanishes, so the text starts clean and ends all
masked.

The paper's first version writes c_t 1 with C_t = 1 + N c_t, N = V + 1, instead. There the uniform law covers the mask
too, so 1/N of the random share p_u lands on the mask. The family is the same with another split between mask and noise;
here u never draws the mask, so that p_u is what it says.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.processes.discrete import DiscreteProcess, check_ends, inside, masked
from difflm_core.processes.schedules import Linear, Schedule


@dataclass(frozen=True)
class HybridSchedule:
    """alpha_t = (1 - t) / C_t, the survival probability of hybrid noise, and c_t, its weight of random tokens."""

    p_uniform: float
    gamma: float = 1.0

    @property
    def B(self) -> float:
        return 2**self.gamma * self.p_uniform / (1 - self.p_uniform)

    def c(self, t: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        return self.B * (t * (1 - t)) ** (self.gamma / 2)

    def alpha(self, t: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        return (1 - t) / (1 + self.c(t))

    def dalpha(self, t: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """Finite also at t = 0 and 1, where c' diverges if gamma < 2: there it is taken just inside."""
        dtype, t = t.dtype, inside(t)
        c = self.c(t)
        slope = self.gamma / 2 * (1 - 2 * t) / (t * (1 - t)) * c  # c'
        return (-(1 + c + (1 - t) * slope) / (1 + c) ** 2).to(dtype)


def uniform(V: int, schedule: Schedule | None = None) -> DiscreteProcess:
    """Uniform noise: a token is itself with probability alpha_t, or a random one of the V tokens, and never the mask.

    As for `masked`, the schedule must run from alpha(0) = 1 to alpha(1) = 0, or the bounds would lack terms.
    """
    schedule = schedule or Linear()
    check_ends(schedule)

    def masses(t):
        alpha = schedule.alpha(t)
        return alpha, torch.zeros_like(alpha), 1 - alpha

    return DiscreteProcess(V, schedule, masses, has_uniform=True)


def hybrid(V: int, p_uniform: float, gamma: float = 1.0) -> DiscreteProcess:
    """GIDD's noise: masks, and among them random tokens, at most the share p_uniform (at t = 1/2). p_uniform = 0 is
    `masked(V, Linear())` itself.

    gamma shapes the rise of the random share (1 in the paper). Above 2 random tokens would have to turn back into what
    they were: no Markov process does.
    """
    if not 0 <= p_uniform < 1:
        raise ValueError(
            f"p_uniform is the share of random tokens at t = 1/2 and must lie in [0, 1), got {p_uniform}: "
            "for pure uniform noise use `uniform`."
        )
    if not 0 < gamma <= 2:
        raise ValueError(f"gamma must lie in (0, 2], got {gamma}: above 2 some jump rates are negative.")
    if p_uniform == 0:
        return masked(V, Linear())
    schedule = HybridSchedule(p_uniform, gamma)

    def masses(t):
        c = schedule.c(t)
        return (1 - t) / (1 + c), t / (1 + c), c / (1 + c)

    return DiscreteProcess(V, schedule, masses, has_uniform=True)
