"""Attention from one set of vectors to another, with padding left out, and the two blocks that autoencoders of text are
made of.

    SelfBlock        h <- h + attention(h, h),        then the MLP: the vectors of a text look at each other
    PerceiverBlock   Z <- Z + attention(Z, [Z; h]),   then the MLP: N latents look at each other and at the text

Queries and keys are normalised by RMSNorm (LD4LG, Lovelace et al. 2023, Table 13), and there are no positions: whoever
needs an order adds it to the vectors.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from difflm_core.models.attention import LayerCache


class CrossAttention(nn.Module):
    """`attention(h, memory, mask)`: queries from h (B, L, width), keys and values from memory (B, M, memory_width);
    `mask` (B, M) is True at vectors that may be looked at, None at all of them. With a `cache`, memory is read in the
    first call only.
    """

    def __init__(self, width: int, heads: int, memory_width: int | None = None):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(memory_width or width, 2 * width, bias=False)
        self.norm_q, self.norm_k = nn.RMSNorm(width // heads), nn.RMSNorm(width // heads)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        h: Float[Tensor, "B L D"],
        memory: Float[Tensor, "B M E"],
        mask: Bool[Tensor, "B M"] | None = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "B L D"]:
        B, L, D = h.shape
        q = self.norm_q(self.q(h).view(B, L, self.heads, -1).transpose(1, 2))  # (B, H, L, D/H)
        if cache is None or cache.keys is None:
            k, v = self.kv(memory).view(B, -1, 2, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
            k = self.norm_k(k)
            if cache is not None:
                cache.extend(k, v)
        else:
            k, v = cache.keys, cache.values
        keep = None if mask is None else mask[:, None, None, :]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=keep)
        return self.out(attended.transpose(1, 2).reshape(B, L, D))


class SelfBlock(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm, self.norm_mlp = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention, self.mlp = CrossAttention(width, heads), plain_mlp(width)

    def forward(self, h: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B L D"]:
        normed = self.norm(h)
        h = h + self.attention(normed, normed, mask)
        return h + self.mlp(self.norm_mlp(h))


class PerceiverBlock(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm, self.norm_memory, self.norm_mlp = nn.RMSNorm(width), nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention, self.mlp = CrossAttention(width, heads), plain_mlp(width)

    def forward(
        self, z: Float[Tensor, "B N D"], h: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None
    ) -> Float[Tensor, "B N D"]:
        normed = self.norm(z)
        if mask is not None:  # a latent always sees the latents, so that no row is without anything to look at
            mask = torch.cat([mask.new_ones(z.shape[:2]), mask], dim=1)
        z = z + self.attention(normed, torch.cat([normed, self.norm_memory(h)], dim=1), mask)
        return z + self.mlp(self.norm_mlp(z))


def plain_mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * width, bias=False), nn.GELU(), nn.Linear(4 * width, width, bias=False))


def check_heads(width: int, heads: int) -> None:
    if heads < 1 or width % heads or width // heads % 2:
        raise ValueError(f"width / heads must be an even whole number, got {width} / {heads}.")


def check_states(h: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None, D: int, length: int) -> None:
    """Refuse states of another width, texts that are too long, masks of another shape, and texts without a token."""
    if h.ndim != 3 or h.shape[2] != D or h.shape[1] > length:
        raise ValueError(f"States must have shape (batch, at most {length}, {D}), got {tuple(h.shape)}.")
    if mask is None:
        return
    if mask.dtype != torch.bool or mask.shape != h.shape[:2]:
        raise ValueError(
            f"The mask of states {tuple(h.shape)} must be booleans {tuple(h.shape[:2])}, True at real tokens, got "
            f"{mask.dtype} {tuple(mask.shape)}."
        )
    if mask.device.type == "cpu" and not bool(mask.any(1).all()):
        raise ValueError("A text has no real token (a row of the mask is False everywhere): leave such texts out.")


def start_weights(model: nn.Module, width: int, layers: int, branches: list[nn.Linear]) -> None:
    """Every linear map keeps the size of its input, every table has rows of length 1, and the `branches` of `layers`
    blocks add up to variance 1 in all.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=1 / math.sqrt(width))
    for branch in branches:
        nn.init.normal_(branch.weight, std=1 / math.sqrt(2 * layers * branch.in_features))


def ends(blocks: nn.ModuleList) -> list[nn.Linear]:
    """The last linear map of every branch of the blocks."""
    return [end for block in blocks for end in (block.attention.out, block.mlp[-1])]
