"""Which times to train on: one t per sequence, spread evenly over the batch.

Independent uniform times leave gaps and clusters, and since the loss depends strongly on t this is noise in every
gradient. Stratified (low-discrepancy) times put exactly one t in each of B equal slices of [0, 1] (MDLM App. D.3; VDM,
Kingma et al. 2021, App. I.1).
"""

import torch
from jaxtyping import Float
from torch import Tensor


def stratified_times(B: int, generator: torch.Generator | None = None, device=None) -> Float[Tensor, "B"]:
    """One uniform t in each slice [i/B, (i+1)/B), in random order, so that no row of a fixed batch always gets the same
    slice.
    """
    slices = torch.randperm(B, generator=generator, device=device)
    return (slices + torch.rand(B, generator=generator, device=device)) / B


def independent_times(B: int, generator: torch.Generator | None = None, device=None) -> Float[Tensor, "B"]:
    """B independent uniform times, for comparison."""
    return torch.rand(B, generator=generator, device=device)
