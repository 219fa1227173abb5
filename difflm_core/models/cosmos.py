"""COSMOS's autoencoder: a text becomes N latents that are meant to be easy for diffusion (Meshchaninov et al. 2025).

    frozen encoder -> h, standardised -> compressor -> z (N, D_ae) -> [diffusion] -> decompressor -> h_hat -> words

The compressor is a Perceiver resampler that ends in RMSNorm. In the decompressor, one learned query per position looks
at the latents and at the other queries; a linear map gives h_hat, its guess of the encoder's states, and another one
reads the words off h_hat, all at once. (The released queries are the encoder's [MASK] embedding plus positions; learned
positions contain that constant.) How it is trained, which is the point of the paper, is in `objectives/cosmos.py`.

Here as in the paper, only the number of vectors shrinks if D_ae is D; a smaller D_ae shrinks them too.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor, nn

from difflm_core.models.cross_attention import PerceiverBlock, check_states, ends, start_weights
from difflm_core.models.perceiver import PerceiverConfig, Resampler, check_latents
from difflm_core.models.standardise import Standardise
from difflm_core.models.tencdm import Encoded


@dataclass(frozen=True)
class CosmosConfig:
    """Texts of at most `length` states of D numbers and V words; N latents of D_ae numbers; `layers` blocks of `width`
    each way.
    """

    D: int
    length: int
    V: int
    N: int
    D_ae: int
    width: int = 96
    layers: int = 2
    heads: int = 4

    def __post_init__(self):
        if self.V < 2:
            raise ValueError(f"A vocabulary has at least 2 words, got V = {self.V}.")
        self.perceiver()

    def perceiver(self) -> PerceiverConfig:
        sizes = (self.D, self.length, self.N, self.D_ae, self.width, self.layers, self.heads)
        return PerceiverConfig(*sizes, norm_constraint=False)


class Cosmos(nn.Module):
    """`encode(h, mask) -> (B, N, D_ae)`, standardised per slot for diffusion, and `decode(latents) -> logits`. For
    training there are `read`, `compress` and `decompress`, which know nothing of the latents' statistics.
    """

    def __init__(self, config: CosmosConfig, encoder: str):
        super().__init__()
        self.config = config
        self.features = Standardise((config.D,), encoder)  # so that noise has one strength relative to all features
        self.standardise = Standardise((config.N, config.D_ae), encoder)
        self.resampler = Resampler(config.perceiver())
        self.norm = nn.RMSNorm(config.D_ae)
        self.decompressor = Decompressor(config)
        # standardised states and latents have numbers of size 1: a place must be as loud, or no query can choose by it
        nn.init.normal_(self.resampler.position.weight)
        nn.init.normal_(self.decompressor.slot.weight)

    def measure_features(self, batches: Iterable[Encoded]) -> "Cosmos":
        """Statistics of the encoder's states, from batches (h, mask, ids), real tokens only: before the autoencoder is
        trained. Returns self.
        """
        self.features.measure(h[mask] for h, mask, _ in batches)
        return self

    def measure_latents(self, batches: Iterable[Encoded]) -> "Cosmos":
        """Statistics of the latents, per slot and coordinate, from batches (h, mask, ids): once it is trained. Returns
        self.
        """
        self.standardise.measure(self.compress(self.read(h, mask), mask) for h, mask, _ in batches)
        return self

    def read(self, h: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        """The encoder's states, standardised; 0 at padding, whatever stood there."""
        check_states(h, mask, self.config.D, self.config.length)
        return self.features(h).masked_fill(~mask[..., None], 0.0)

    def compress(
        self, features: Float[Tensor, "B L D"], visible: Bool[Tensor, "B L"] | None = None
    ) -> Float[Tensor, "B N E"]:
        """Latents on their own scale, from standardised states; only `visible` tokens are looked at."""
        return self.norm(self.resampler(features, visible))

    def decompress(self, z: Float[Tensor, "B N E"]) -> tuple[Float[Tensor, "B L V"], Float[Tensor, "B L D"]]:
        """(logits, h_hat) at all positions of the canvas, from latents on their own scale."""
        return self.decompressor(z)

    def encode(self, h: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B N E"]:
        """Standardised latents of texts; mask is True at tokens. Raises ValueError without statistics."""
        return self.standardise(self.compress(self.read(h, mask), mask))

    def decode(self, latents: Float[Tensor, "B N E"]) -> Float[Tensor, "B L V"]:
        """Logits at all positions of the canvas, from standardised latents."""
        return self.decompress(self.standardise.inverse(latents))[0]

    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.parameters())


class Decompressor(nn.Module):
    def __init__(self, config: CosmosConfig):
        super().__init__()
        self.config = config
        self.input = nn.Linear(config.D_ae, config.width)
        self.slot = nn.Embedding(config.N, config.width)
        self.position = nn.Embedding(config.length, config.width)
        self.blocks = nn.ModuleList(PerceiverBlock(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)
        self.output = nn.Linear(config.width, config.D)
        self.head = nn.Linear(config.D, config.V)
        start_weights(self, config.width, config.layers, ends(self.blocks))
        nn.init.normal_(self.head.weight, std=0.02)

    def forward(self, z: Float[Tensor, "B N E"]) -> tuple[Float[Tensor, "B L V"], Float[Tensor, "B L D"]]:
        check_latents(z, self.config.N, self.config.D_ae)
        slots = self.input(z) + self.slot.weight
        h = self.position.weight.expand(len(z), -1, -1)
        for block in self.blocks:
            h = block(h, slots)
        h = self.output(self.norm(h))
        return self.head(h), h
