"""The denoiser of latents: the course's transformer between vectors, told its last estimate at every layer and a class.

What it has beyond `VectorTransformer`: the previous estimate enters before every block, through a linear map of the
block's own (TEncDM and COSMOS; LD4LG joins it to the input once), and a class label is added to the time, with one row
more for "no class" (classifier-free guidance, Ho & Salimans 2022). With `long_skips` the input of each block of the
first half is added to the input of its mirror image in the second, as both released codes do.

No attention mask: padding, where a latent has any, is part of what is generated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from difflm_core.models.attention import rotary_angles
from difflm_core.models.transformer import Block, TimeEmbedding
from difflm_core.models.vector_transformer import VectorConfig, check_vectors
from difflm_core.processes.gaussian import GaussianProcess


@dataclass(frozen=True)
class LatentConfig(VectorConfig):
    """Texts of at most `length` latents of D numbers, which belong to one of `labels` classes (0: no classes)."""

    self_conditioning: bool = True
    labels: int = 0
    long_skips: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.labels < 0:
            raise ValueError(f"A network knows 0 classes or more, got labels = {self.labels}.")


class LatentDenoiser(nn.Module):
    """`net(z_t, t, previous=None, label=None) -> (B, N, D)`. `previous` is an estimate of the clean latents, None
    counts as zeros; `label` (B,) are classes in 0..labels - 1 or `null_label`, None is `null_label` for every row.
    """

    def __init__(self, config: LatentConfig):
        super().__init__()
        self.config, layers, width = config, config.layers, config.width
        self.input = nn.Linear(config.D, width)
        self.position = nn.Embedding(config.length, width)
        self.time = TimeEmbedding(width)
        self.label = nn.Embedding(config.labels + 1, width) if config.labels else None
        previous = layers if config.self_conditioning else 0
        self.previous = nn.ModuleList(nn.Linear(config.D, width, bias=False) for _ in range(previous))
        self.blocks = nn.ModuleList(Block(config) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.output = nn.Linear(width, config.D)
        self.register_buffer("angles", rotary_angles(config.length, width // config.heads), persistent=False)
        self._initialise()

    @property
    def null_label(self) -> int:
        """The class "none"."""
        return self.config.labels

    def forward(
        self,
        z_t: Float[Tensor, "B N D"],
        t: Float[Tensor, "B"],
        previous: Float[Tensor, "B N D"] | None = None,
        label: Int[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B N D"]:
        check_vectors(z_t, previous, self.config)
        check_label(label, len(z_t), self.config.labels)
        N, layers = z_t.shape[1], len(self.blocks)
        condition = self.time(t)  # (B, width)
        if self.label is not None:
            label = torch.full((len(z_t),), self.null_label, device=z_t.device) if label is None else label
            condition = condition + self.label(label)
        h, halfway = self.input(z_t) + self.position.weight[:N], []
        for i, block in enumerate(self.blocks):
            if self.config.long_skips:
                if i < layers // 2:
                    halfway.append(h)
                elif i >= (layers + 1) // 2:
                    h = h + halfway.pop()
            if previous is not None:
                h = h + self.previous[i](previous)
            h = block(h, self.angles[:N], condition)
        return self.output(self.norm(h))

    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def _initialise(self) -> None:
        config = self.config
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
        for table in (self.position, self.label):
            if table is not None:
                nn.init.normal_(table.weight, std=1 / math.sqrt(config.width))
        for linear in self.previous:  # at first the network does not look at its estimates
            nn.init.zeros_(linear.weight)
        for block in self.blocks:  # each branch adds variance 1 / (2 * layers), so all of them add one
            for projection in (block.attention.out, block.mlp[-1]):
                nn.init.normal_(projection.weight, std=1 / math.sqrt(2 * config.layers * projection.in_features))
            nn.init.zeros_(block.modulation.weight)
            nn.init.zeros_(block.modulation.bias)
        nn.init.zeros_(self.output.bias)
        nn.init.normal_(self.output.weight, std=0.02)


def by_level(net: Callable, process: GaussianProcess) -> Callable:
    """The network asked by noise level: in place of t it is told the time at which the *cosine* schedule has the same
    alpha, (2 / pi) arccos sqrt(alpha_t). A network trained so may be sampled on another schedule than its own.
    """

    def asked(z_t, t, *rest):
        level = 2 / math.pi * process.alpha(t).sqrt().arccos()
        return net(z_t, level.to(z_t.dtype), *rest)

    return asked


def check_label(label: Int[Tensor, "B"] | None, B: int, labels: int) -> None:
    """Refuse classes that the network has no row for, and classes for a network that knows none."""
    if label is None:
        return
    if not labels:
        raise ValueError("This network knows no classes: build it with labels=C, or pass label=None.")
    wrong = label.device.type == "cpu" and bool(((label < 0) | (label > labels)).any())
    if label.shape != (B,) or wrong:
        raise ValueError(
            f"Labels must be one number in 0..{labels} per row ({labels}: no class), got {label.tolist()} for {B} rows."
        )
