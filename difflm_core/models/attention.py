"""Multi-head attention with rotary positions, and the key-value cache that makes autoregressive sampling linear in the
length.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def rotary_angles(length: int, head_width: int, base: float = 10_000.0) -> Float[Tensor, "L half"]:
    """Position p turns coordinate pair k by p / base^(2k / head_width) (RoPE, Su et al. 2021, Eq. 15)."""
    rates = base ** (-torch.arange(0, head_width, 2).float() / head_width)
    return torch.outer(torch.arange(length).float(), rates)


def rotate(x: Float[Tensor, "B H L D"], angles: Float[Tensor, "L half"]) -> Float[Tensor, "B H L D"]:
    """Turn each pair (x_k, x_{k + D/2}) by its angle; dot products then depend on distances only."""
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class KeyValueCache:
    """Keys and values of the positions already read, one entry per layer. Start with an empty one and pass it to every
    call.
    """

    def __init__(self):
        self._layers: dict[int, LayerCache] = {}

    @property
    def length(self) -> int:
        return self._layers[0].length if self._layers else 0

    def layer(self, index: int) -> "LayerCache":
        return self._layers.setdefault(index, LayerCache())


class LayerCache:
    def __init__(self):
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    @property
    def length(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.keys is not None:
            keys, values = torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool, dropout: float = 0.0):
        super().__init__()
        self.heads, self.causal, self.dropout = heads, causal, dropout
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self, h: Float[Tensor, "B L D"], angles: Float[Tensor, "L half"], cache: LayerCache | None = None
    ) -> Float[Tensor, "B L D"]:
        B, L, D = h.shape
        q, k, v = self.qkv(h).view(B, L, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)  # each (B, H, L, D/H)
        q, k = rotate(q, angles), rotate(k, angles)
        if cache is not None:
            k, v = cache.extend(k, v)
        past = k.shape[2] - L
        causal_from_start = self.causal and past == 0
        mask = torch.ones(L, past + L, dtype=torch.bool, device=h.device).tril(past) if self.causal and past else None
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal_from_start, dropout_p=dropout
        )
        return self.out(attended.transpose(1, 2).reshape(B, L, D))
