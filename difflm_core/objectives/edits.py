"""Learning to mend: cross-entropy of the clean text at every position of a text with errors, and no mask.

This is no bound on -log p(x): the process that makes the errors has no reverse here. It is the second stage of Seed
Diffusion (arXiv 2508.02193), mixed with the masked bound so that the network does not forget how to write.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.objectives.vocabulary import nll_at


def edit_nll(denoiser: Denoiser, x: Int[Tensor, "B L"], z: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """-log p(x_i | z) in nats for every token, wrong or right; networks with a time input are shown 0."""
    if x.shape != z.shape:
        raise ValueError(f"The text and its edited copy have one shape, got {tuple(x.shape)} and {tuple(z.shape)}.")
    t = torch.zeros(len(x), device=x.device)
    everywhere = torch.ones_like(x, dtype=torch.bool)
    return nll_at(denoiser, denoiser.hidden(z, t), everywhere, x).view(x.shape)
