"""The course's transformer between vectors: noisy vectors in, one prediction per vector out.

Same blocks, rotary positions, learned positions and time conditioning as `Transformer`; only the two ends differ. In
place of a table of tokens there is a linear map from D numbers to the width, in place of the vocabulary head one back.
What the prediction means (clean vectors, noise, v) is no business of the network: `GaussianProcess.to_x` reads it.
"""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from difflm_core.models.attention import rotary_angles
from difflm_core.models.transformer import Block, TimeEmbedding


@dataclass(frozen=True)
class VectorConfig:
    """Texts of at most `length` vectors of D numbers; `layers` blocks of `width` with `heads` heads. With
    `self_conditioning` the network also reads its previous estimate of the clean vectors.
    """

    D: int
    length: int
    width: int = 96
    layers: int = 2
    heads: int = 4
    self_conditioning: bool = False
    dropout: float = 0.0
    causal = False  # what a Block asks for besides
    time_conditioning = True

    def __post_init__(self):
        if self.D < 1 or self.length < 1:
            raise ValueError(
                f"Vectors need at least 1 number and 1 position, got D = {self.D} and length = {self.length}."
            )
        if self.width % self.heads or self.width // self.heads % 2:
            raise ValueError(
                f"width / heads must be an even whole number (RoPE rotates pairs), got {self.width} / {self.heads}."
            )


class VectorTransformer(nn.Module):
    """`net(z_t, t, previous=None) -> (B, L, D)`. `previous` is an estimate of the clean vectors; None counts as zeros
    (Chen et al. 2022). Adding a linear map of it to the input is the same as concatenating it with z_t.
    """

    def __init__(self, config: VectorConfig):
        super().__init__()
        self.config = config
        self.input = nn.Linear(config.D, config.width)
        self.previous = nn.Linear(config.D, config.width, bias=False) if config.self_conditioning else None
        self.position = nn.Embedding(config.length, config.width)
        self.time = TimeEmbedding(config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)
        self.output = nn.Linear(config.width, config.D)
        self.register_buffer("angles", rotary_angles(config.length, config.width // config.heads), persistent=False)
        self._initialise()

    def forward(
        self, z_t: Float[Tensor, "B L D"], t: Float[Tensor, "B"], previous: Float[Tensor, "B L D"] | None = None
    ) -> Float[Tensor, "B L D"]:
        check_vectors(z_t, previous, self.config)
        L = z_t.shape[1]
        h = self.input(z_t) + self.position.weight[:L]
        if previous is not None:
            h = h + self.previous(previous)
        condition = self.time(t)  # (B, width)
        for block in self.blocks:
            h = block(h, self.angles[:L], condition)
        return self.output(self.norm(h))

    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
        nn.init.normal_(self.position.weight, std=1 / math.sqrt(self.config.width))
        for block in self.blocks:  # each branch adds variance 1 / (2 * layers), so all of them add one
            for projection in (block.attention.out, block.mlp[-1]):
                nn.init.normal_(projection.weight, std=1 / math.sqrt(2 * self.config.layers * projection.in_features))
            nn.init.zeros_(block.modulation.weight)
            nn.init.zeros_(block.modulation.bias)
        nn.init.zeros_(self.output.bias)
        nn.init.normal_(self.output.weight, std=0.02)


def check_vectors(z_t: Tensor, previous: Tensor | None, config) -> None:
    """Refuse vectors of another width, a canvas that is too long, and a previous estimate that nobody reads."""
    if z_t.ndim != 3 or z_t.shape[2] != config.D or z_t.shape[1] > config.length:
        raise ValueError(
            f"This network reads (batch, length <= {config.length}, {config.D}) vectors, got shape {tuple(z_t.shape)}."
        )
    if previous is not None and not config.self_conditioning:
        raise ValueError(
            "This network has no input for a previous estimate: build it with self_conditioning=True, or pass None."
        )
