"""How much noise in which of the T steps (D3PM, Austin et al. 2021, sections 4 and A.7). All are float64, (T,).

beta_t is the noise of step t alone. `survival` is what is left after t steps, (1 - beta_1)...(1 - beta_t);
`total_noise` is the rest, and `step_noise` goes back from it to the betas. The schedule that makes the lost
*information* grow linearly is in information.py.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.processes.matrices.checks import check_betas


def linear_betas(T: int, first: float = 1e-4, last: float = 0.02) -> Float[Tensor, "T"]:
    """From `first` to `last` in equal steps: the paper's choice for Gaussian matrices (with T = 1000, K = 256)."""
    check_steps(T)
    return check_betas(torch.linspace(first, last, T, dtype=torch.float64))


def reciprocal_betas(T: int) -> Float[Tensor, "T"]:
    """beta_t = 1 / (T - t + 1), total noise t / T: the paper's for absorbing noise, and MDLM's linear schedule."""
    check_steps(T)
    return 1 / torch.arange(T, 0, -1, dtype=torch.float64)


def cosine_betas(T: int, s: float = 0.008, largest: float = 1.0) -> Float[Tensor, "T"]:
    """beta_t = 1 - f(t) / f(t - 1), f(t) = cos((t/T + s) / (1 + s) * pi/2): the paper's for uniform noise (Eq. 18).

    The printed Eq. 18 adds pi/2 where it should multiply; as printed every beta is negative. f is the cosine itself,
    not its square as in improved DDPM. The last beta is 1; the paper's code cuts at `largest` = 0.999, which leaves
    L_T > 0.
    """
    check_steps(T)
    share = (torch.arange(T + 1, dtype=torch.float64) / T + s) / (1 + s)
    f = torch.sin((1 - share) * math.pi / 2)  # cos(share * pi/2), and exactly 0 at the end
    return check_betas((1 - f[1:] / f[:-1]).clamp_max(largest))


def survival(betas: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
    """alpha after t steps: the chance that no step has touched a symbol."""
    return torch.cumprod(1 - check_betas(betas), 0)


def total_noise(betas: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
    """The beta of all the first t steps together."""
    return 1 - survival(betas)


def step_noise(total: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
    """The betas that reach the given totals, which must rise and not pass 1."""
    clean = 1 - check_betas(total, "total noise")
    before = torch.cat([clean.new_ones(1), clean[:-1]])
    return check_betas(1 - clean / before)


def check_steps(T: int) -> None:
    if T < 1:
        raise ValueError(f"A chain needs at least one step, got T = {T}.")
