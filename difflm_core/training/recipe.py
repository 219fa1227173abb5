"""A recipe: everything that a run needs to be the same run again, as plain dataclasses that a lesson prints and the
command line edits.
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from difflm_core.training.block_task import Block
from difflm_core.training.code_source import PythonFunctions
from difflm_core.training.d3pm_task import D3PM
from difflm_core.training.diffusion_lm_task import EmbeddingDiffusion
from difflm_core.training.hybrid_task import Hybrid
from difflm_core.training.llada_task import LLaDA
from difflm_core.training.piece_sentences import PieceSentences
from difflm_core.training.sources import (
    HubSentences,
    HubText,
    LocalText,
    PreparedText,
    Shakespeare,
    StreamedText,
    ToyLanguage,
    WikipediaSentences,
)
from difflm_core.training.tasks import Autoregressive, Masked


@dataclass(frozen=True)
class Size:
    """The network, apart from vocabulary and length, which come from the data."""

    width: int = 96
    layers: int = 2
    heads: int = 4
    time_conditioning: bool = False
    dropout: float = 0.0


@dataclass(frozen=True)
class Engine:
    """How the same training is computed. A run may go on with other values, but for `bf16`: only the last bits of its
    sums change.
    """

    accumulate: int = 1
    """Micro-batches per step and process: each holds batch_size / (processes x accumulate) rows in memory."""
    bf16: bool = False
    """Matrix products in bfloat16 on a CPU too; a GPU always does so."""
    recompute: bool = False
    """Activation checkpointing: keep only what enters a block and compute the block again in the backward pass."""
    compile: bool = False
    """torch.compile for the blocks: needs a C++ compiler and, once, minutes; for GPUs."""
    head_rows: int = 0
    """Positions that the vocabulary is computed for at once, and again in the backward pass; 0: all, and only once."""
    fixed_rows: bool | None = None
    """Masked diffusion and LLaDA: a fixed number of rows for the masks, so that nobody waits for their number. None:
    on a GPU, unless it takes a tenth more rows than there are masks."""
    fsdp: bool = False
    """Deal weights, gradients, average and optimiser to the processes (FSDP2): for models that one GPU cannot hold."""


class Decay(Enum):
    """What the learning rate does after the warm-up: half a cosine down to a tenth; nothing; warmup / step under a
    root; a line down to 0; or nothing until the last `cooldown` of the steps, then a line down to a tenth (warm-up,
    stable, decay: Hu et al. 2024, MiniCPM).
    """

    COSINE = "cosine"
    CONSTANT = "constant"
    ROOT = "root"
    LINEAR = "linear"
    PLATEAU = "plateau"


@dataclass(frozen=True)
class Recipe:
    """One training run. Learning rate: linear warm-up, then `decay`. `ema` is the decay of the averaged weights that
    are kept and evaluated. `batch_size` counts the rows of all processes together.
    """

    task: Masked | Autoregressive | Hybrid | EmbeddingDiffusion | Block | D3PM | LLaDA = field(default_factory=Masked)
    data: (
        ToyLanguage
        | Shakespeare
        | WikipediaSentences
        | PieceSentences
        | LocalText
        | HubText
        | HubSentences
        | PythonFunctions
        | PreparedText
        | StreamedText
    ) = field(default_factory=ToyLanguage)
    size: Size = field(default_factory=Size)
    steps: int = 1500
    batch_size: int = 256
    learning_rate: float = 3e-3
    warmup: int = 100
    decay: Decay = Decay.COSINE
    """What follows the warm-up. PLATEAU holds the rate until the cooldown (warm-up, stable, decay)."""
    cooldown: float = 0.1
    """The share of the steps, at the end, in which the learning rate of a plateau falls."""
    beta2: float = 0.99
    """AdamW's second beta; the first is 0.9."""
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.99
    seed: int = 0
    evaluate_every: int = 300
    checkpoint_every: int = 500
    start: Path | None = None
    """A run or a model's folder, whose averaged weights this run begins with."""
    engine: Engine = field(default_factory=Engine)

    def __post_init__(self):
        if min(self.steps, self.batch_size, self.evaluate_every, self.checkpoint_every, self.data.held_out) < 1:
            raise ValueError("steps, batch_size, evaluate_every, checkpoint_every and held_out must all be at least 1.")
        if not (self.learning_rate > 0 and self.clip > 0 and min(self.warmup, self.weight_decay) >= 0):
            raise ValueError("learning_rate and clip must be above 0, warmup and weight_decay 0 or more.")
        if not 0 < self.cooldown <= 1:
            raise ValueError(f"cooldown is the share of the steps that end a plateau, in (0, 1], got {self.cooldown}.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is the decay of an average, in [0, 1), got {self.ema}.")
        if not 0 < self.beta2 < 1:
            raise ValueError(f"beta2 is the decay of an average, in (0, 1), got {self.beta2}.")
        if self.engine.head_rows < 0:
            raise ValueError(f"engine.head_rows is a number of positions, or 0 for all, got {self.engine.head_rows}.")
        if self.engine.accumulate < 1 or self.batch_size % self.engine.accumulate:
            raise ValueError(
                f"engine.accumulate must divide batch_size = {self.batch_size} into equal parts, got "
                f"{self.engine.accumulate}."
            )
