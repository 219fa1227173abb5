"""PLANNER's variational paragraph embedder: N random codes that a text is written from (Zhang et al. 2023, stage 1).

    q(z | text) = N(mean, sigma^2),   mean = tanh(W_mean H_{1:N}),   log sigma^2 = W_var H_{1:N}

H_{1:N} are the encoder's outputs at the first N positions: nothing is pooled and no queries are added, so the encoder
itself must learn to carry the whole text there. That is why it is trained (BERT in the paper; here some layers on top
of given states h, which may be those of a frozen encoder). The decoder reads the codes as a prefix and nothing else.

tanh bounds the means, not the codes: |mean| < 1 while sigma is free. Codes are therefore not of variance 1, and
diffusion on them wants `Standardise`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from difflm_core.models.cross_attention import SelfBlock, check_heads, check_states, ends, start_weights
from difflm_core.models.latent_decoder import PrefixDecoder
from difflm_core.models.perceiver import check_latents


@dataclass(frozen=True)
class PlannerConfig:
    """From texts of at most `length` states of D numbers to N codes of D_ae, by `layers` blocks of `width`."""

    D: int
    length: int
    N: int
    D_ae: int
    width: int = 96
    layers: int = 2
    heads: int = 4

    def __post_init__(self):
        if min(self.D, self.length, self.N, self.D_ae, self.layers) < 1:
            raise ValueError(
                f"States, codes and layers are counted from 1, got D = {self.D}, length = {self.length}, "
                f"N = {self.N}, D_ae = {self.D_ae}, layers = {self.layers}."
            )
        if self.N > self.length:
            raise ValueError(f"The codes are the first N of at most {self.length} states, got N = {self.N}.")
        check_heads(self.width, self.heads)


class Planner(nn.Module):
    """`posterior(h, mask) -> (mean, log_variance)`, each (B, N, D_ae); `encode(h, mask)` is the mean, which diffusion
    is trained on; `context(codes)` is what `decoder` reads: the codes themselves.
    """

    def __init__(self, config: PlannerConfig, decoder: PrefixDecoder):
        super().__init__()
        if (decoder.config.N, decoder.config.D) != (config.N, config.D_ae):
            raise ValueError(
                f"The decoder reads {decoder.config.N} codes of {decoder.config.D} numbers, the encoder makes "
                f"{config.N} of {config.D_ae}: give both the same."
            )
        self.config, self.decoder = config, decoder
        self.input = nn.Linear(config.D, config.width)
        self.position = nn.Embedding(config.length, config.width)
        self.blocks = nn.ModuleList(SelfBlock(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)
        self.mean = nn.Linear(config.width, config.D_ae)
        self.log_variance = nn.Linear(config.width, config.D_ae)
        own = nn.ModuleList([self.input, self.position, self.blocks, self.mean, self.log_variance])
        start_weights(own, config.width, config.layers, ends(self.blocks))
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -4.0)  # sigma = 0.14: at first the decoder can hear the mean

    def posterior(
        self, h: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None
    ) -> tuple[Float[Tensor, "B N E"], Float[Tensor, "B N E"]]:
        """Raises ValueError for a canvas of fewer than N positions. A text may have fewer real tokens than N: its later
        codes then look at it from padding.
        """
        check_states(h, mask, self.config.D, self.config.length)
        L, N = h.shape[1], self.config.N
        if L < N:
            raise ValueError(f"The codes are the first {N} states, but there are only {L}: pad the texts to {N}.")
        if mask is not None:
            h = h.masked_fill(~mask[..., None], 0.0)  # nor does what stands at padding reach the codes read there
        h = self.input(h) + self.position.weight[:L]
        for block in self.blocks:
            h = block(h, mask)
        first = self.norm(h[:, :N])
        return self.mean(first).tanh(), self.log_variance(first)

    def encode(self, h: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B N E"]:
        return self.posterior(h, mask)[0]

    def context(self, codes: Float[Tensor, "B N E"]) -> Float[Tensor, "B N E"]:
        check_latents(codes, self.config.N, self.config.D_ae)
        return codes


def draw_codes(
    mean: Float[Tensor, "B N E"], log_variance: Float[Tensor, "B N E"], generator: torch.Generator | None = None
) -> Float[Tensor, "B N E"]:
    """mean + sigma eps: a draw through which gradients reach both (Kingma & Welling 2014)."""
    eps = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + (log_variance / 2).exp() * eps


def code_kl(mean: Float[Tensor, "B N E"], log_variance: Float[Tensor, "B N E"]) -> Float[Tensor, "B N"]:
    """KL(q(z | text) || N(0, I)) in nats per code: summed over its numbers, not averaged."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(-1)
