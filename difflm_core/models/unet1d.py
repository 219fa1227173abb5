"""A 1-D U-Net between vectors, the backbone that Diffusion-LM compares its transformer with (Li et al. 2022, Figure 4
and Appendix B).

Convolutions see three neighbours; halving the length twice lets the deepest level see far, and the skip connections
bring the single positions back. There is no attention. With the default width it has about as many parameters as the
default `VectorTransformer`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from difflm_core.models.transformer import TimeEmbedding
from difflm_core.models.vector_transformer import check_vectors


@dataclass(frozen=True)
class UNet1dConfig:
    """Texts of at most `length` vectors of D numbers; the length is halved `halvings` times."""

    D: int
    length: int
    width: int = 72
    halvings: int = 2
    self_conditioning: bool = False
    dropout: float = 0.0
    groups = 4  # of the group norms

    def __post_init__(self):
        if min(self.D, self.length, self.halvings) < 1 or self.width % self.groups:
            raise ValueError(
                f"A U-Net needs D, length and halvings of at least 1 and a width that {self.groups} divides, got "
                f"{self.D}, {self.length}, {self.halvings} and {self.width}."
            )


class UNet1d(nn.Module):
    """`net(z_t, t, previous=None) -> (B, L, D)`, as `VectorTransformer`, for any L up to `length`."""

    def __init__(self, config: UNet1dConfig):
        super().__init__()
        self.config = config
        width, levels = config.width, range(config.halvings)
        self.input = nn.Linear(config.D, width)
        self.previous = nn.Linear(config.D, width, bias=False) if config.self_conditioning else None
        self.position = nn.Embedding(config.length, width)
        self.time = TimeEmbedding(width)
        self.down = nn.ModuleList(ConvBlock(width, width, config) for _ in levels)
        self.shorter = nn.ModuleList(nn.Conv1d(width, width, 3, stride=2, padding=1) for _ in levels)
        self.middle = ConvBlock(width, width, config)
        self.up = nn.ModuleList(ConvBlock(2 * width, width, config) for _ in levels)
        self.norm = nn.GroupNorm(config.groups, width)
        self.output = nn.Linear(width, config.D)
        nn.init.normal_(self.output.weight, std=0.02)
        nn.init.zeros_(self.output.bias)

    def forward(
        self, z_t: Float[Tensor, "B L D"], t: Float[Tensor, "B"], previous: Float[Tensor, "B L D"] | None = None
    ) -> Float[Tensor, "B L D"]:
        check_vectors(z_t, previous, self.config)
        h = self.input(z_t) + self.position.weight[: z_t.shape[1]]
        if previous is not None:
            h = h + self.previous(previous)
        h, condition, skips = h.transpose(1, 2), self.time(t), []  # h: (B, width, L), channels first for Conv1d
        for block, shorter in zip(self.down, self.shorter):
            h = block(h, condition)
            skips.append(h)
            h = shorter(h)
        h = self.middle(h, condition)
        for block in self.up:
            skip = skips.pop()
            h = F.interpolate(h, size=skip.shape[-1])  # odd lengths too
            h = block(torch.cat([h, skip], dim=1), condition)
        return self.output(F.silu(self.norm(h)).transpose(1, 2))

    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.parameters())


class ConvBlock(nn.Module):
    """Two convolutions and a shortcut; the time scales and shifts between them."""

    def __init__(self, width_in: int, width: int, config: UNet1dConfig):
        super().__init__()
        self.norm_in, self.norm_out = nn.GroupNorm(config.groups, width_in), nn.GroupNorm(config.groups, width)
        self.conv_in = nn.Conv1d(width_in, width, 3, padding=1)
        self.conv_out = nn.Conv1d(width, width, 3, padding=1)
        self.modulation = nn.Linear(config.width, 2 * width)
        self.shortcut = nn.Identity() if width_in == width else nn.Conv1d(width_in, width, 1)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, h: Float[Tensor, "B C L"], condition: Float[Tensor, "B W"]) -> Float[Tensor, "B W L"]:
        scale, shift = self.modulation(condition)[..., None].chunk(2, dim=1)
        new = self.conv_in(F.silu(self.norm_in(h)))
        new = self.conv_out(self.dropout(F.silu(self.norm_out(new) * (1 + scale) + shift)))
        return self.shortcut(h) + new
