"""One pass over the vocabulary, for losses that need of p = softmax only sum_v log(1 + k p_v) and p at two tokens.

Like `vocabulary.py` this is where speed lives. A direct computation keeps one-hot targets, q, p and both their
logarithms, six tensors of (B, L, V); this keeps p alone, writes its gradient by hand, and cuts the rows into pieces
when even one such tensor is too large.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from difflm_core.models import Denoiser

PIECE = 2**27  # entries of one (rows, V) tensor: half a gigabyte in float32

Sums = tuple[Float[Tensor, "N"], Float[Tensor, "N"], Float[Tensor, "N"]]


def smoothed_at(
    denoiser: Denoiser, h: Float[Tensor, "B L D"], k: Float[Tensor, "B L"], x: Int[Tensor, "B L"], z: Int[Tensor, "B L"]
) -> Sums:
    """(sum_v log(1 + k p_v), p_x, p_z), each (B, L), for p = softmax of the denoiser's logits at h. Float32 or better.

    Batches of more than PIECE entries go piece by piece, and each piece computes its logits again in the backward pass:
    the memory of one piece, for one more pass through the head.
    """
    rows = max(1, PIECE // denoiser.V)
    inputs = [part.reshape(-1, *part.shape[2:]).split(rows) for part in (h, k, x, z)]
    pieces = list(zip(*inputs))
    if len(pieces) == 1:
        sums = smoothed_rows(denoiser, *pieces[0])
    else:
        again = {"use_reentrant": False, "preserve_rng_state": False}
        parts = [checkpoint(smoothed_rows, denoiser, *piece, **again) for piece in pieces]
        sums = [torch.cat(part) for part in zip(*parts)]
    return tuple(part.view(x.shape) for part in sums)


def smoothed_rows(denoiser, h: Float[Tensor, "N D"], k, x, z) -> Sums:
    logits = denoiser.logits(h)
    return SmoothedSums.apply(logits if logits.dtype.itemsize > 4 else logits.float(), k, x, z)


class SmoothedSums(torch.autograd.Function):
    """The three numbers of `smoothed_at` from logits (N, V), and their gradient."""

    @staticmethod
    def forward(ctx, logits, k, x, z):
        p = logits.softmax(-1)
        k = k.to(p.dtype)[:, None]
        ctx.save_for_backward(p, k, x, z)
        return (p * k).log1p_().sum(-1), p.gather(1, x[:, None])[:, 0], p.gather(1, z[:, None])[:, 0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, to_total, to_x, to_z):
        p, k, x, z = ctx.saved_tensors
        slope = (p * k).add_(1).reciprocal_().mul_(k * to_total[:, None])  # of sum_v log(1 + k p_v), by p_v
        slope.scatter_add_(1, x[:, None], to_x[:, None]).scatter_add_(1, z[:, None], to_z[:, None])
        return slope.sub_(torch.einsum("nv,nv->n", slope, p)[:, None]).mul_(p), None, None, None  # through the softmax
