"""Who sees whom in block diffusion: the masks, and attention that obeys one and may look back at a cache.

A text is cut into blocks of equal size. Blocks are written from left to right, the tokens inside one by diffusion, so a
noisy block reads itself and the finished blocks before it, and a finished block never reads what came later. That last
half sentence is why keys and values of finished blocks can be kept, exactly (BD3-LM, Arriola et al. 2025).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from difflm_core.models.attention import Attention, KeyValueCache, LayerCache, rotate


def block_causal_mask(length: int, size: int, past: int = 0, device=None) -> Bool[Tensor, "Q K"]:
    """True where position past + q may see position k: every position of its own block and of the blocks before.

    The `length` positions that ask follow `past` positions that are only looked at.
    """
    block = torch.arange(past + length, device=device) // size
    return block[past:, None] >= block


def training_mask(length: int, size: int, device=None) -> Bool[Tensor, "2L 2L"]:
    """The three-part mask of BD3-LM for [z_t, x], a noisy copy of the text followed by the clean one.

    A noisy position sees the noisy positions of its own block and the clean ones of earlier blocks; a clean position
    sees the clean ones of its own block and of earlier blocks. So one pass answers for all blocks at once, each as if
    it were the block being written.
    """
    block = torch.arange(length, device=device) // size
    same, earlier = block[:, None] == block, block[:, None] > block
    return torch.cat([torch.cat([same, earlier], 1), torch.cat([torch.zeros_like(same), same | earlier], 1)])


@dataclass(frozen=True)
class Sight:
    """What one attention layer may look at: keys and values of a cache, if any, and of all that is there what `mask`
    allows (None: everything).
    """

    mask: Bool[Tensor, "Q K"] | None = None
    past: LayerCache | None = None


class BlockAttention(nn.Module):
    """Attention with the weights of a plain one, and a `Sight` where that has its cache."""

    def __init__(self, plain: Attention):
        super().__init__()
        self.heads, self.dropout, self.qkv, self.out = plain.heads, plain.dropout, plain.qkv, plain.out

    def forward(
        self, h: Float[Tensor, "B L D"], angles: Float[Tensor, "L half"], sight: Sight
    ) -> Float[Tensor, "B L D"]:
        B, L, D = h.shape
        q, k, v = self.qkv(h).view(B, L, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)  # each (B, H, L, D/H)
        q, k = rotate(q, angles), rotate(k, angles)
        if sight.past is not None:
            k, v = sight.past.extend(k, v)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=sight.mask, dropout_p=dropout)
        return self.out(attended.transpose(1, 2).reshape(B, L, D))


def view_of(cache: KeyValueCache, layers: int, rows: Bool[Tensor, "B"] | None = None) -> KeyValueCache:
    """A cache with the same content, or that of some rows of the batch. What is added to it stays out of the first."""
    view = KeyValueCache()
    for index in range(layers if cache.length else 0):
        full, part = cache.layer(index), view.layer(index)
        part.keys, part.values = (full.keys, full.values) if rows is None else (full.keys[rows], full.values[rows])
    return view
