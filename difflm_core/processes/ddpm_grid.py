"""DDPM's own chains: T betas, and the alpha-bar that they multiply up to.

DDPM fixes T and the noise of each step, this course a curve alpha(t). `matrices.GridSchedule(betas)` makes the first
into the second: alpha(i / T) = (1 - beta_1) ... (1 - beta_i), exactly, with alpha(0) = 1. A process on it serves the
chain of T steps and every subset of its times. The other way round, `betas_of(schedule, T)` gives the chain that
DDPM-style code builds from a formula for alpha-bar. Then three things may differ from the formula:

1. only ratios enter, so that the chain runs `Rescaled(schedule)`: it starts from 1 whatever the formula says at 0;
2. every beta is cut at 0.999, so that alpha(1) is a thousandth of alpha(1 - 1/T) instead of 0;
3. `LinearBeta` is the limit of linear betas for many steps: exp(-sum of beta) in the place of prod(1 - beta), which
   shows at the noisy end: alpha(1) is 4.3e-5, the product for T = 1000 is 4.0e-5.

Diffusion-LM's released code is case 1 with `Sqrt()`: the noise of its first step, sqrt(0.01464) = 0.1210, is also the
noise that it adds to embeddings, where the paper's formula has sqrt(1 - alpha(0)) = 0.1.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.processes.matrices.betas import check_steps, linear_betas
from difflm_core.processes.schedules import Schedule


def scaled_linear_betas(T: int) -> Float[Tensor, "T"]:
    """DDPM's betas, 1e-4 to 0.02 for T = 1000, times 1000 / T for other T (improved DDPM's code), float64.

    Raises ValueError below 21 steps, where the last beta would pass 1.
    """
    check_steps(T)
    if T <= 20:
        raise ValueError(f"DDPM's linear betas need T > 20 steps, got T = {T}: take a subset of a longer chain.")
    return linear_betas(T, 0.1 / T, 20 / T)


def betas_of(schedule: Schedule, T: int, largest: float = 0.999) -> Float[Tensor, "T"]:
    """beta_i = 1 - alpha(i / T) / alpha((i - 1) / T), at most `largest` (Nichol & Dhariwal 2021, 3.2), float64."""
    check_steps(T)
    alpha = schedule.alpha(torch.arange(T + 1, dtype=torch.float64) / T).clamp_min(0)
    before = alpha[:-1]
    return torch.where(before > 0, 1 - alpha[1:] / before.clamp_min(1e-300), 1.0).clamp(0, largest)
