"""Classifier-free guidance without a classifier or a label: the prompt is the condition, masking it takes it away.

    logits = unconditional + (w + 1) (conditional - unconditional)      (LLaDA, Nie et al. 2025)

so that for one token p is proportional to p(x_i | z, prompt)^(w + 1) / p(x_i | z)^w. Position by position that is an
exact statement; the text that comes out of many such steps follows no law that one could write down.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models import Denoiser


class PromptGuidance:
    """A `Denoiser` around another one, for any sampler. Its `hidden` are full logits (B, L, V), and each of its calls
    is two calls of the network.

    `given` marks the positions of the prompt, the same in all rows; `w` = 0 is no guidance, -1 no prompt. Raises
    ValueError for a `given` that is not one row of positions.
    """

    def __init__(self, denoiser: Denoiser, given: Bool[Tensor, "L"], w: float = 1.0):
        if given.ndim != 1 or given.dtype != torch.bool or bool(given.all()):
            raise ValueError(
                "given marks the positions of the prompt, True or False for each of the canvas, not all True; got "
                f"shape {tuple(given.shape)} and {given.dtype}."
            )
        self.denoiser, self.given, self.w, self.V = denoiser, given, w, denoiser.V
        self.uses_time = getattr(denoiser, "uses_time", False)

    def hidden(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L V"]:
        if z_t.shape[1] != len(self.given):
            raise ValueError(f"The prompt was marked on {len(self.given)} positions, the canvas has {z_t.shape[1]}.")
        with_prompt = self.denoiser.logits(self.denoiser.hidden(z_t, t))
        if self.w == 0:
            return with_prompt
        hidden_prompt = z_t.masked_fill(self.given.to(z_t.device), self.V)
        without = self.denoiser.logits(self.denoiser.hidden(hidden_prompt, t))
        return without + (self.w + 1) * (with_prompt - without)

    def logits(self, h: Float[Tensor, "*N V"]) -> Float[Tensor, "*N V"]:
        return h
