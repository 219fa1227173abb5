"""One transformer for the whole course: bidirectional for diffusion, causal for the autoregressive twin.

Pre-norm blocks with RMSNorm, rotary positions (RoPE) and PyTorch's fused attention. Three habits differ from a language
model's usual code:
- RoPE knows distances only. On a canvas of nothing but masks all distances look alike, so a bidirectional network with
  RoPE alone must give every position the same answer, and can never learn what usually comes first. A learned embedding
  of the absolute position is added for that.
- The input embedding has V + 1 rows, the last one for [MASK]; the output head has V, so that predicting a mask is
  impossible by construction.
- The trunk (`hidden`) and the head (`logits`) are apart, because a diffusion loss or sampler needs the vocabulary at a
  few positions only.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from difflm_core.models.attention import Attention, KeyValueCache, rotary_angles


@dataclass(frozen=True)
class TransformerConfig:
    """V clean tokens, sequences of at most `length`, `layers` blocks of `width` with `heads` heads."""

    V: int
    length: int
    width: int = 128
    layers: int = 3
    heads: int = 4
    causal: bool = False
    time_conditioning: bool = False
    dropout: float = 0.0

    def __post_init__(self):
        if self.V < 2 or self.length < 1:
            raise ValueError(
                f"A model needs at least 2 tokens and 1 position, got V = {self.V} and length = {self.length}."
            )
        if self.width % self.heads or self.width // self.heads % 2:
            raise ValueError(
                f"width / heads must be an even whole number (RoPE rotates pairs), got {self.width} / {self.heads}."
            )


class Transformer(nn.Module):
    """A `Denoiser`: `hidden(z_t, t) -> (B, L, D)`, `logits(h) -> (..., V)`; calling it gives all logits (B, L, V).

    Models without time conditioning ignore t, which may then be None.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.V + 1, config.width)  # row V is [MASK]
        self.position = nn.Embedding(config.length, config.width)
        self.time = TimeEmbedding(config.width) if config.time_conditioning else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)
        self.head = nn.Linear(config.width, config.V, bias=False)
        self.register_buffer("angles", rotary_angles(config.length, config.width // config.heads), persistent=False)
        self._initialise()

    @property
    def V(self) -> int:
        return self.config.V

    @property
    def mask_id(self) -> int:
        return self.config.V

    @property
    def length(self) -> int:
        return self.config.length

    @property
    def uses_time(self) -> bool:
        return self.time is not None

    def hidden(
        self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None, cache: KeyValueCache | None = None
    ) -> Float[Tensor, "B L D"]:
        """The trunk. With a `cache`, z_t holds only the positions that the cache has not seen. Raises ValueError for a
        cache in a bidirectional model: there, what comes later changes the states that the cache would keep.
        """
        if cache is not None and not self.config.causal:
            raise ValueError(
                "A KeyValueCache needs a causal model, and this one looks both ways, so that every new token changes "
                "the earlier states: leave the cache out."
            )
        start = 0 if cache is None else cache.length
        self._check(z_t, t, start)
        condition = self.time(t) if self.time is not None else None  # (B, D)
        angles = self.angles[start : start + z_t.shape[1]]  # (L, D_head / 2)
        h = self.embedding(z_t) + self.position.weight[start : start + z_t.shape[1]]
        for layer, block in enumerate(self.blocks):
            h = block(h, angles, condition, None if cache is None else cache.layer(layer))
        return self.norm(h)

    def logits(self, h: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        return self.head(h)

    def forward(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L V"]:
        return self.logits(self.hidden(z_t, t))

    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def _check(self, z_t, t, start) -> None:
        if z_t.ndim != 2 or start + z_t.shape[1] > self.length:
            raise ValueError(
                f"This model reads (batch, length <= {self.length}) token ids, got shape {tuple(z_t.shape)} at "
                f"position {start}."
            )
        if z_t.device.type == "cpu" and z_t.numel() and not 0 <= int(z_t.min()) <= int(z_t.max()) <= self.V:
            raise ValueError(
                f"Token ids must lie in 0..{self.V} ({self.V} is the mask), got {int(z_t.min())}..{int(z_t.max())}."
            )
        if self.uses_time and t is None:
            raise ValueError("This model is conditioned on time: pass t, one number in [0, 1] per row.")

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
        for table in (self.embedding, self.position):
            nn.init.normal_(table.weight, std=1 / math.sqrt(self.config.width))
        nn.init.normal_(self.head.weight, std=0.02)
        for block in self.blocks:  # each branch adds variance 1 / (2 * layers), so all of them add one
            for projection in (block.attention.out, block.mlp[-1]):
                nn.init.normal_(projection.weight, std=1 / math.sqrt(2 * self.config.layers * projection.in_features))
            if block.modulation is not None:
                nn.init.zeros_(block.modulation.weight)
                nn.init.zeros_(block.modulation.bias)


class Block(nn.Module):
    """Attention and MLP, each with a pre-norm; with time conditioning each is scaled, shifted and gated (adaLN of DiT,
    Peebles & Xie 2023).

    The modulation starts at zero, so that at first the model ignores t; DiT's gates start at 0, ours at 1 (`1 + gate`),
    as in a model without time.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__()
        width = config.width
        self.norm_attention, self.norm_mlp = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = Attention(width, config.heads, config.causal, config.dropout)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False), nn.GELU(), nn.Linear(4 * width, width, bias=False)
        )
        self.modulation = nn.Linear(width, 6 * width) if config.time_conditioning else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, h, angles, condition=None, cache=None):
        if self.modulation is None:
            h = h + self.dropout(self.attention(self.norm_attention(h), angles, cache))
            return h + self.dropout(self.mlp(self.norm_mlp(h)))
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(condition)[:, None, :].chunk(6, dim=-1)
        normed = self.norm_attention(h) * (1 + scale_a) + shift_a
        h = h + (1 + gate_a) * self.dropout(self.attention(normed, angles, cache))
        return h + (1 + gate_m) * self.dropout(self.mlp(self.norm_mlp(h) * (1 + scale_m) + shift_m))


class TimeEmbedding(nn.Module):
    """t in [0, 1] -> a vector: sines and cosines of t at geometrically spaced frequencies, then a small MLP."""

    def __init__(self, width: int, frequencies: int = 64):
        super().__init__()
        self.register_buffer("frequencies", torch.logspace(0, 3, frequencies), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Float[Tensor, "B"]) -> Float[Tensor, "B D"]:
        phase = t.to(self.frequencies.dtype)[:, None] * self.frequencies
        return F.silu(self.mlp(torch.cat([phase.sin(), phase.cos()], dim=-1)))
