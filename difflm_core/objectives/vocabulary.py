"""Cross-entropy at chosen positions only: the vocabulary is the expensive part, so choose the rows first.

At V = 50,000 and width 256 four fifths of all arithmetic is the head. A masked-diffusion loss is zero wherever a token
is visible, so the head need not look there. What is left is a large matrix product and copies of its result; in
training `cross_entropy.py` saves the copies.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from difflm_core.models import Denoiser
from difflm_core.objectives.cross_entropy import spend_on_cross_entropy


def nll_at(
    denoiser: Denoiser, h: Float[Tensor, "B L D"], rows: Bool[Tensor, "B L"], x: Int[Tensor, "B L"]
) -> Float[Tensor, "N"]:
    """-log p(x) in nats at the N positions where `rows` is true, in row-major order. Computed in float32 or better,
    whatever the trunk's dtype.
    """
    return nll_in_pieces(denoiser, h[rows], x[rows])


def nll_in_pieces(denoiser: Denoiser, h: Float[Tensor, "N D"], x: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
    """-log p(x) in nats, row by row.

    A denoiser with a number `rows_at_once` gets so many positions at a time, whose logits are computed again in the
    backward pass: the logits of one piece, for one more pass through the head.
    """
    at_once = getattr(denoiser, "rows_at_once", None)
    if not at_once or len(h) <= at_once:
        return nll_of(denoiser, h, x)
    pieces = zip(h.split(at_once), x.split(at_once))
    again = {"use_reentrant": False, "preserve_rng_state": False}
    return torch.cat([checkpoint(nll_of, denoiser, *piece, **again) for piece in pieces])


def nll_of(denoiser: Denoiser, h: Float[Tensor, "N D"], x: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
    logits = denoiser.logits(h)  # (N, V)
    logits = logits if logits.dtype.itemsize > 4 else logits.float()
    compiled = torch.compiler.is_compiling()  # a compiler spares the copies by itself
    if not compiled and logits.grad_fn is not None:  # made for this loss alone, so it may be overwritten
        return spend_on_cross_entropy(logits, x)
    return F.cross_entropy(logits, x, reduction="none")
