"""The Perceiver resampler: a text of any length becomes N latents of D_ae numbers (LD4LG, Lovelace et al. 2023, section
3.1; Jaegle et al. 2021, Alayrac et al. 2022).

N learned queries look at the states of a frozen encoder, and at each other, for a few layers; a linear map then leaves
D_ae numbers of each. N does not depend on the text, so diffusion on the latents costs the same for all texts, and
padding is not part of what is generated. With the norm constraint each latent is scaled to |x_i|^2 = D_ae, the mean of
|eps|^2 for the noise that diffusion will add: signal and noise then meet at one size without any statistics.

And the way back, the reconstruction network: N latents, made wide again and told their places, look at each other and
become what a decoder attends to.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor, nn

from difflm_core.models.cross_attention import (
    PerceiverBlock,
    SelfBlock,
    check_heads,
    check_states,
    ends,
    start_weights,
)


@dataclass(frozen=True)
class PerceiverConfig:
    """From texts of at most `length` states of D numbers to N latents of D_ae, by `layers` blocks of `width`."""

    D: int
    length: int
    N: int
    D_ae: int
    width: int = 96
    layers: int = 2
    heads: int = 4
    norm_constraint: bool = True

    def __post_init__(self):
        if min(self.D, self.length, self.N, self.D_ae, self.layers) < 1:
            raise ValueError(
                f"States, latents and layers are counted from 1, got D = {self.D}, length = {self.length}, "
                f"N = {self.N}, D_ae = {self.D_ae}, layers = {self.layers}."
            )
        check_heads(self.width, self.heads)


class Resampler(nn.Module):
    """`resampler(h, mask) -> (B, N, D_ae)` from states h (B, L, D); mask (B, L) is True at real tokens."""

    def __init__(self, config: PerceiverConfig):
        super().__init__()
        self.config = config
        self.input = nn.Linear(config.D, config.width)
        self.position = nn.Embedding(config.length, config.width)
        self.queries = nn.Embedding(config.N, config.width)
        self.blocks = nn.ModuleList(PerceiverBlock(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)
        self.output = nn.Linear(config.width, config.D_ae)
        start_weights(self, config.width, config.layers, ends(self.blocks))

    def forward(self, h: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B N E"]:
        check_states(h, mask, self.config.D, self.config.length)
        states = self.input(h) + self.position.weight[: h.shape[1]]
        z = self.queries.weight.expand(len(h), -1, -1)
        for block in self.blocks:
            z = block(z, states, mask)
        z = self.output(self.norm(z))
        return on_sphere(z) if self.config.norm_constraint else z


class Reconstruction(nn.Module):
    """`reconstruction(latents) -> (B, N, D)`, in the width of the encoder's states."""

    def __init__(self, config: PerceiverConfig):
        super().__init__()
        self.config = config
        self.input = nn.Linear(config.D_ae, config.width)
        self.position = nn.Embedding(config.N, config.width)
        self.blocks = nn.ModuleList(SelfBlock(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)
        self.output = nn.Linear(config.width, config.D)
        start_weights(self, config.width, config.layers, ends(self.blocks))

    def forward(self, latents: Float[Tensor, "B N E"]) -> Float[Tensor, "B N D"]:
        check_latents(latents, self.config.N, self.config.D_ae)
        h = self.input(latents) + self.position.weight
        for block in self.blocks:
            h = block(h)
        return self.output(self.norm(h))


def on_sphere(x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
    """x scaled to |x|^2 = D, the sphere close to which noise N(0, I) lies; a zero vector stays zero."""
    return x * (x.shape[-1] ** 0.5 / x.norm(dim=-1, keepdim=True).clamp_min(1e-12))


def check_latents(latents: Float[Tensor, "B N D"], N: int, D: int) -> None:
    if latents.ndim != 3 or latents.shape[1:] != (N, D):
        raise ValueError(f"Latents must have shape (batch, {N}, {D}), got {tuple(latents.shape)}.")
