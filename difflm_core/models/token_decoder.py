"""From one vector per token to one word per token, all at once: the two decoders of TEncDM (Shabalin et al. 2024,
section 5.2, Table 2).

    MLPDecoder           each vector is read alone
    TransformerDecoder   the vectors of a text look at each other first, and mend what noise did to one of them

Both answer `decoder(z) -> logits (B, L, V)` and use no mask: where a generated text ends is for the words to say
(`until_end`).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from difflm_core.models.cross_attention import SelfBlock, check_heads, check_states, ends, start_weights


@dataclass(frozen=True)
class TokenDecoderConfig:
    """Texts of at most `length` vectors of D numbers, V words. An `MLPDecoder` looks at D, V and `width` only."""

    D: int
    length: int
    V: int
    width: int = 96
    layers: int = 3
    heads: int = 4

    def __post_init__(self):
        if self.V < 2 or min(self.D, self.length, self.layers) < 1:
            raise ValueError(
                f"A decoder needs 2 words and 1 of the rest, got V = {self.V}, D = {self.D}, length = {self.length}, "
                f"layers = {self.layers}."
            )
        check_heads(self.width, self.heads)


class MLPDecoder(nn.Module):
    def __init__(self, config: TokenDecoderConfig):
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(
            nn.Linear(config.D, config.width), nn.GELU(), nn.RMSNorm(config.width), nn.Linear(config.width, config.V)
        )
        start_weights(self, config.width, 1, [])
        nn.init.normal_(self.layers[-1].weight, std=0.02)

    def forward(self, z: Float[Tensor, "B L D"]) -> Float[Tensor, "B L V"]:
        check_states(z, None, self.config.D, self.config.length)
        return self.layers(z)


class TransformerDecoder(nn.Module):
    def __init__(self, config: TokenDecoderConfig):
        super().__init__()
        self.config = config
        self.input = nn.Linear(config.D, config.width)
        self.position = nn.Embedding(config.length, config.width)
        self.blocks = nn.ModuleList(SelfBlock(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)
        self.head = nn.Linear(config.width, config.V)
        start_weights(self, config.width, config.layers, ends(self.blocks))
        nn.init.normal_(self.head.weight, std=0.02)

    def forward(self, z: Float[Tensor, "B L D"]) -> Float[Tensor, "B L V"]:
        check_states(z, None, self.config.D, self.config.length)
        h = self.input(z) + self.position.weight[: z.shape[1]]
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))


def until_end(ids: Int[Tensor, "B L"], end: int) -> Bool[Tensor, "B L"]:
    """True up to and with the first `end` of each text; everywhere, if a text has none."""
    before = (ids == end).long().cumsum(1) - (ids == end).long()
    return torch.eq(before, 0)
