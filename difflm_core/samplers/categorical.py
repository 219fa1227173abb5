"""Drawing tokens: one uniform number per row, looked up in the cumulative distribution.

The inverse-CDF draw needs one random number where the Gumbel trick needs V, is exact down to probabilities of 1e-16
because it sums in float64, and is several times faster at V = 50,000. What the Gumbel trick does wrong in float32 is
shown in `gumbel.py`.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def draw(
    logits: Float[Tensor, "N V"], generator: torch.Generator | None = None, temperature: float = 1.0, top_p: float = 1.0
) -> Int[Tensor, "N"]:
    """Draw one token per row from softmax(logits / temperature), cut to the smallest set with mass >= top_p.
    temperature = 0 takes the largest.
    """
    if temperature == 0:
        return logits.argmax(-1)
    return draw_from(probabilities(logits, temperature, top_p), generator)


def probabilities(logits: Float[Tensor, "N V"], temperature: float = 1.0, top_p: float = 1.0) -> Float[Tensor, "N V"]:
    """The distribution that `draw` samples, in float32 or better."""
    if temperature < 0 or not 0 < top_p <= 1:
        raise ValueError(f"temperature must be >= 0 and top_p in (0, 1], got {temperature} and {top_p}.")
    logits = logits if logits.dtype.itemsize >= 4 else logits.float()
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    p = (logits / temperature).softmax(-1)
    if top_p == 1:
        return p
    ordered, order = p.sort(-1, descending=True)
    before = ordered.cumsum(-1) - ordered  # mass of the strictly better tokens: the first one is always kept
    kept = torch.zeros_like(p).scatter(-1, order, ordered * (before < top_p))
    return kept / kept.sum(-1, keepdim=True)


def draw_from(p: Float[Tensor, "N V"], generator: torch.Generator | None = None) -> Int[Tensor, "N"]:
    """Inverse-CDF draw from rows of (unnormalised) probabilities. A row with NaN, or with no mass at all, is refused
    (on the CPU).
    """
    cdf = p.double().cumsum(-1)
    if p.device.type == "cpu" and not bool(((cdf[..., -1] > 0) & cdf[..., -1].isfinite()).all()):
        raise ValueError(
            "A row of probabilities has no finite positive sum, so nothing can be drawn from it: does the "
            "network return NaN?"
        )
    u = torch.rand(p.shape[:-1] + (1,), generator=generator, device=p.device, dtype=torch.float64) * cdf[..., -1:]
    # right=True finds the first cdf > u, so that tokens of probability zero are never drawn.
    return torch.searchsorted(cdf, u, right=True).squeeze(-1).clamp_max(p.shape[-1] - 1)
