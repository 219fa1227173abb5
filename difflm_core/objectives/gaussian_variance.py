"""The variance of a reverse step p(z_s | z_t): two fixed choices, and the best one.

The true q(z_s | z_t) has, in each coordinate, the variance

    small + (large - small) Var[x | z_t] / (1 - alpha_t),

with small = beta-tilde (right if z_t leaves no doubt about x) and large = beta = 1 - alpha_{t|s} (right if x ~ N(0, 1):
then Var[x | z_t] = 1 - alpha_t). Smooth densities are close to `large` near the data, points to `small`. The choice
matters where the noise grows by a large factor in one step, in the first steps: the variance of the wrong kind costs a
fixed number of nats there, however fine the grid (Euler's gamma / 2 = 0.29 nats per dimension if 1 - alpha starts
linearly, `fixed_small` and smooth data), not counting L_0.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Variance = Callable[..., Tensor]  # (z_t (B, *D), t (B,), small (B,), large (B,)) -> (B,) or (B, *D)


def fixed_large(z_t, t, small: Float[Tensor, "B"], large: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """beta (FIXED_LARGE in the DDPM family's code)."""
    return large


def fixed_small(z_t, t, small: Float[Tensor, "B"], large: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """beta-tilde (FIXED_SMALL), what `GaussianProcess.step` draws with at eta = 1; for L_0 see `clipped`."""
    return clipped(small, large)


def best_variance(posterior_variance: Callable[..., Tensor], process) -> Variance:
    """The variance that makes the bound tightest, from posterior_variance(z_t, t) = Var[x | z_t] (B, *D)."""

    def variance(z_t, t, small, large):
        shape = (-1, *[1] * (z_t.ndim - 1))
        extra = ((large - small) / (1 - process.alpha(t))).view(shape)
        return (small.view(shape) + extra * posterior_variance(z_t, t)).to(z_t.dtype)

    return variance


def clipped(small: Float[Tensor, "B"], large: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """small, or half of large where small is 0, in L_0: a normal law needs a variance.

    Improved DDPM's code takes the beta-tilde of the second step instead, which on a fine grid is about half of beta_1.
    """
    return torch.where(small > 0, small, large / 2)
