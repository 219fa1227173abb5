"""Recipes: everything that a run needs to be the same run again, as plain dataclasses that a lesson prints and the
command line edits.
"""

from dataclasses import dataclass, field

from difflm_core.training.sources import LocalText, Shakespeare, ToyLanguage, WikipediaSentences
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
class Recipe:
    """One training run. Learning rate: linear warm-up, then a cosine down to a tenth. `ema` is the decay of the
    averaged weights that are kept and evaluated.
    """

    task: Masked | Autoregressive = field(default_factory=Masked)
    data: ToyLanguage | Shakespeare | WikipediaSentences | LocalText = field(default_factory=ToyLanguage)
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

    def __post_init__(self):
        if min(self.steps, self.batch_size, self.evaluate_every, self.checkpoint_every) < 1:
            raise ValueError("steps, batch_size, evaluate_every and checkpoint_every must all be at least 1.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is the decay of an average, in [0, 1), got {self.ema}.")


RECIPES: dict[str, tuple[str, Recipe]] = {
    "mdlm-tiny": ("Masked diffusion on the toy language: about two minutes on 2 CPU cores.", Recipe()),
    "ar-tiny": ("Its autoregressive twin: same network, same data, causal attention.", Recipe(task=Autoregressive())),
    "mdlm-shakespeare": (
        "Masked diffusion on Shakespeare, 1,024 BPE tokens: about half an hour on 2 CPU cores.",
        Recipe(
            data=Shakespeare(),
            size=Size(width=192, layers=4, heads=6, dropout=0.1),
            steps=6000,
            batch_size=64,
            learning_rate=2e-3,
            warmup=300,
            weight_decay=0.05,
            ema=0.999,
            evaluate_every=1000,
        ),
    ),
    "ar-shakespeare": (
        "The autoregressive twin of mdlm-shakespeare.",
        Recipe(
            task=Autoregressive(),
            data=Shakespeare(),
            size=Size(width=192, layers=4, heads=6, dropout=0.1),
            steps=6000,
            batch_size=64,
            learning_rate=2e-3,
            warmup=300,
            weight_decay=0.05,
            ema=0.999,
            evaluate_every=1000,
        ),
    ),
    "mdlm-wikipedia": (
        "Masked diffusion on Wikipedia sentences, 2,048 BPE tokens.",
        Recipe(
            data=WikipediaSentences(),
            size=Size(width=192, layers=4, heads=6, dropout=0.1),
            steps=6000,
            batch_size=128,
            learning_rate=2e-3,
            warmup=300,
            weight_decay=0.05,
            ema=0.999,
            evaluate_every=1000,
        ),
    ),
}
