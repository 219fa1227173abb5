"""Recipes: everything that a run needs to be the same run again, as plain dataclasses that a lesson prints and the
command line edits.
"""

from dataclasses import dataclass, field, replace

from difflm_core.training.block_task import Block
from difflm_core.training.diffusion_lm_task import EmbeddingDiffusion
from difflm_core.training.hybrid_task import Hybrid
from difflm_core.training.sources import HubSentences, HubText, LocalText, Shakespeare, ToyLanguage, WikipediaSentences
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


@dataclass(frozen=True)
class Recipe:
    """One training run. Learning rate: linear warm-up, then a cosine down to a tenth. `ema` is the decay of the
    averaged weights that are kept and evaluated. `batch_size` counts the rows of all processes together.
    """

    task: Masked | Autoregressive | Hybrid | EmbeddingDiffusion | Block = field(default_factory=Masked)
    data: ToyLanguage | Shakespeare | WikipediaSentences | LocalText | HubText | HubSentences = field(
        default_factory=ToyLanguage
    )
    size: Size = field(default_factory=Size)
    steps: int = 1500
    batch_size: int = 256
    learning_rate: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.99
    seed: int = 0
    evaluate_every: int = 300
    checkpoint_every: int = 500
    engine: Engine = field(default_factory=Engine)

    def __post_init__(self):
        if min(self.steps, self.batch_size, self.evaluate_every, self.checkpoint_every, self.data.held_out) < 1:
            raise ValueError("steps, batch_size, evaluate_every, checkpoint_every and held_out must all be at least 1.")
        if not (self.learning_rate > 0 and self.clip > 0 and min(self.warmup, self.weight_decay) >= 0):
            raise ValueError("learning_rate and clip must be above 0, warmup and weight_decay 0 or more.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is the decay of an average, in [0, 1), got {self.ema}.")
        if self.engine.accumulate < 1 or self.batch_size % self.engine.accumulate:
            raise ValueError(
                f"engine.accumulate must divide batch_size = {self.batch_size} into equal parts, got "
                f"{self.engine.accumulate}."
            )


REAL_TEXT = Recipe(
    data=Shakespeare(),
    size=Size(width=160, layers=4, heads=5, dropout=0.1),
    steps=1000,
    batch_size=64,
    learning_rate=2e-3,
    warmup=200,
    weight_decay=0.05,
    ema=0.998,
    evaluate_every=500,
)

# MDLM on LM1B as in the paper (App. D.4), but for time conditioning, which the authors' released code leaves out too.
LM1B = Recipe(
    data=HubText(),
    size=Size(width=768, layers=12, heads=12, dropout=0.1),
    steps=1_000_000,
    batch_size=512,
    learning_rate=3e-4,
    warmup=2500,
    ema=0.9999,
    evaluate_every=10_000,
    checkpoint_every=10_000,
)

# Diffusion-LM on E2E as in the paper (App. B): BERT-base's shape, d = 16, T = 2000, 200 steps when decoding.
E2E = Recipe(
    task=EmbeddingDiffusion(),
    data=HubSentences(),
    size=Size(width=768, layers=12, heads=12, dropout=0.1),
    steps=200_000,
    batch_size=64,
    learning_rate=1e-4,
    ema=0.9999,
    evaluate_every=10_000,
    checkpoint_every=10_000,
)

RECIPES: dict[str, tuple[str, Recipe]] = {
    "mdlm-tiny": ("Masked diffusion on the toy language: about two minutes on 2 CPU cores.", Recipe()),
    "ar-tiny": ("Its autoregressive twin: same network, causal attention.", Recipe(task=Autoregressive())),
    "mdlm-shakespeare": ("Masked diffusion on Shakespeare, 1,024 BPE tokens.", REAL_TEXT),
    "ar-shakespeare": ("The autoregressive twin of mdlm-shakespeare.", replace(REAL_TEXT, task=Autoregressive())),
    "mdlm-wikipedia": (
        "Masked diffusion on Wikipedia sentences, 2,048 BPE tokens.",
        replace(REAL_TEXT, data=WikipediaSentences(), batch_size=128),
    ),
    "mdlm-text": (
        "Masked diffusion on your own text, its characters as tokens: add --data.path with a .txt file or a folder.",
        replace(REAL_TEXT, data=LocalText()),
    ),
    "mdlm-lm1b": ("The paper's LM1B run (85 M parameters in the trunk): for a GPU and a network.", LM1B),
    "gidd-tiny": (
        "Masks and random tokens (GIDD) on the toy language: about two minutes on 2 CPU cores.",
        Recipe(task=Hybrid(), size=Size(time_conditioning=True), steps=1000, evaluate_every=250),
    ),
    "gidd-lm1b": (
        "mdlm-lm1b with hybrid noise, a time input and GIDD's weight decay: for a GPU and a network.",
        replace(LM1B, task=Hybrid(), size=replace(LM1B.size, time_conditioning=True), weight_decay=0.02),
    ),
    "block-tiny": ("Block diffusion on the toy language, blocks of four words.", Recipe(task=Block())),
    "diffusion-lm-tiny": (
        "Diffusion-LM, noise on learned embeddings, on the toy language: a few minutes on 2 CPU cores.",
        Recipe(task=EmbeddingDiffusion(), steps=3000, batch_size=64, evaluate_every=1000),
    ),
    "diffusion-lm-e2e": ("The paper's E2E run (restaurant reviews, one a row): for a GPU and a network.", E2E),
}
