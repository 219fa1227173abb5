"""D3PM without a matrix: uniform and absorbing noise are three numbers per step, whatever K is (App. A.4.1).

(1 - beta) I + beta 1 u^T, with u the uniform law or the mask, is the identity plus a matrix of rank one, and so are
all products. So a D3PM chain with these matrices is the course's `DiscreteProcess` looked at on the grid 0, 1/T, ...,
1: its corrupt, posterior and step do the same as the K x K route, in O(1) or O(K) per token instead of O(K^2).
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.processes.discrete import DiscreteProcess, masked
from difflm_core.processes.matrices.betas import survival


@dataclass(frozen=True)
class GridSchedule:
    """alpha(i / T) = (1 - beta_1)...(1 - beta_i), straight lines between. `reciprocal_betas` gives exactly `Linear`."""

    betas: Float[Tensor, "T"] = field(repr=False)
    T: int = field(init=False)
    alphas: Float[Tensor, "T+1"] = field(init=False, repr=False)

    def __post_init__(self):
        alphas = survival(self.betas)
        object.__setattr__(self, "T", len(alphas))
        object.__setattr__(self, "alphas", torch.cat([alphas.new_ones(1), alphas]))

    def alpha(self, t: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        left, right, share = self._around(t)
        return torch.lerp(left, right, share).to(t.dtype)

    def dalpha(self, t: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        left, right, _ = self._around(t)
        return ((right - left) * self.T).to(t.dtype)

    def _around(self, t):
        """The grid values on both sides of t, and how far t has gone between them; a grid point belongs to its left."""
        place = t.double() * self.T
        nearest = place.round()
        place = torch.where((place - nearest).abs() < 1e-3, nearest, place)  # i/T in float32 is meant as i/T
        right = place.ceil().long().clamp(1, self.T)
        alphas = self.alphas.double().to(t.device)
        return alphas[right - 1], alphas[right], place - (right - 1)


def absorbing_process(V: int, betas: Float[Tensor, "T"]) -> DiscreteProcess:
    """`absorbing(V + 1, betas)` as a process on V clean tokens and the mask V, with no matrix."""
    return masked(V, GridSchedule(betas))


def uniform_process(V: int, betas: Float[Tensor, "T"]) -> DiscreteProcess:
    """`uniform(V, betas)` as a process on V clean tokens, with no matrix. (The mask V exists and is never reached.)

    The last beta need not be 1: what is left of the text at t = 1 is paid for by D3PM's L_T. Bounds that have no such
    term, as `gidd_nelbo`, are for `processes.uniform`, which insists on alpha(1) = 0.
    """
    schedule = GridSchedule(betas)

    def masses(t):
        alpha = schedule.alpha(t)
        return alpha, torch.zeros_like(alpha), 1 - alpha

    return DiscreteProcess(V, schedule, masses, has_uniform=True)
