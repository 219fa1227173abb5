"""Recipes of the latent systems: a task (`latent_tasks`), texts with a frozen encoder's states (`latent_sources`), and
one diffusion for all, so that a lesson prints a whole system and the command line edits it.
"""

from dataclasses import dataclass, field, replace

from difflm_core.models import LatentConfig, LatentDenoiser
from difflm_core.objectives.cosmos import Smoothing
from difflm_core.processes import GaussianProcess, ShiftedCosine
from difflm_core.training.latent_sources import HubStates, ToyStates, WikipediaStates
from difflm_core.training.latent_tasks import (
    Canvas,
    CosmosTask,
    DenoiserTraining,
    LD4LGTask,
    Parts,
    PlannerTask,
    TEncDMTask,
)


@dataclass(frozen=True)
class DenoiserSize:
    """The network between noisy and clean latents, apart from their shape."""

    width: int = 96
    layers: int = 3
    heads: int = 4
    long_skips: bool = False


@dataclass(frozen=True)
class LatentRecipe:
    """One latent system. The noise schedule is alpha = 1 / (1 + d^2 tan^2(pi t / 2)) (d = 1: cosine); `sample_steps` is
    what the report samples with. The denoiser knows the source's classes.
    """

    task: LD4LGTask | PlannerTask | TEncDMTask | CosmosTask = field(default_factory=LD4LGTask)
    data: ToyStates | WikipediaStates | HubStates = field(default_factory=lambda: ToyStates(embeddings=True))
    size: DenoiserSize = field(default_factory=DenoiserSize)
    diffusion: DenoiserTraining = field(default_factory=DenoiserTraining)
    d: float = 1.0
    batch_size: int = 64
    seed: int = 0
    sample_steps: int = 50

    def __post_init__(self):
        counts = (self.batch_size, self.sample_steps, self.diffusion.steps, self.task.steps, self.data.held_out)
        if min(counts) < 1 or not self.d > 0:
            raise ValueError("batch_size, sample_steps, all steps and held_out must be at least 1, and d above 0.")

    @property
    def process(self) -> GaussianProcess:
        return GaussianProcess(ShiftedCosine(self.d))

    def stages(self) -> dict:
        """Name and function of every stage, in order; each takes a `Training`."""
        return self.task.stages() | {"denoiser": lambda run: self.task.diffusion(run, self.diffusion)}

    def network(self, canvas: Canvas) -> LatentDenoiser:
        (N, D), size = self.task.shape(canvas), self.size
        return LatentDenoiser(
            LatentConfig(
                D, N, size.width, size.layers, size.heads, self_conditioning=self.task.self_conditioning > 0,
                labels=len(canvas.labels), long_skips=size.long_skips,
            )
        )  # fmt: skip

    def parts(self, canvas: Canvas) -> Parts:
        """Everything untrained, in the order that the global seed settles it."""
        autoencoder, scale = self.task.build(canvas)
        return Parts(autoencoder, self.network(canvas), scale, None)


TINY_PLANNER = LatentRecipe(
    task=PlannerTask(decoder_layers=2, swapped=0.1, beta=1e-4, steps=1500, learning_rate=4e-3),
    size=DenoiserSize(layers=2), diffusion=DenoiserTraining(steps=1200), sample_steps=20,
)
TINY_TENCDM = LatentRecipe(task=TEncDMTask(), size=DenoiserSize(layers=2), d=3.0)
# Small autoencoders do not read texts back under the released perturbations (0.3, 0.7, 0.4): these are milder.
MILD = Smoothing(hide=0.15, keep=0.85, drop=0.1)
TINY_COSMOS = LatentRecipe(task=CosmosTask(smoothing=MILD, steps=2000), d=5.0)

# About a quarter of an hour on one core: the last matrix, over 4,096 pieces, decides how many steps that is.
REAL_SIZE = DenoiserSize(width=128, layers=4)
REAL_DIFFUSION = DenoiserTraining(learning_rate=1e-3, ema=0.995)
WIKIPEDIA = LatentRecipe(
    task=LD4LGTask(
        N=12, D_ae=32, width=128, tune_encoder=False, pretraining_steps=500, steps=600, learning_rate=2e-3
    ),
    data=WikipediaStates(), size=REAL_SIZE, diffusion=replace(REAL_DIFFUSION, steps=1500),
)  # fmt: skip

BERT = HubStates(length=64, encoder_name="bert-base-cased")
PAPER_DIFFUSION = DenoiserTraining(steps=200_000, learning_rate=2e-4, ema=0.9999)
# LD4LG on ROCStories (Tables 13 and 14): 32 latents of 64, 3 + 3 layers. The decoder is ours, not BART's.
LD4LG_PAPER = LatentRecipe(
    task=LD4LGTask(
        N=32, D_ae=64, width=768, layers=3, heads=12, tune_encoder=False, pretraining_steps=100_000, steps=50_000,
        learning_rate=1e-4,
    ),
    data=replace(BERT, encoder_name="facebook/bart-base"), size=DenoiserSize(768, 12, 12, long_skips=True),
    diffusion=replace(PAPER_DIFFUSION, steps=250_000), batch_size=128, sample_steps=250,
)  # fmt: skip
# PLANNER's released scripts: 16 codes of 1,024, DiT of 28 layers. Encoder and decoder are ours, on BERT-large's states;
# beta is the demo's 1e-5 times this batch size. The paper's texts are longer, and not these.
PLANNER_PAPER = LatentRecipe(
    task=PlannerTask(
        N=16, D_ae=1024, width=1024, encoder_layers=6, decoder_layers=24, heads=16, beta=1e-5 * 128, steps=100_000,
        learning_rate=1e-4,
    ),
    data=replace(BERT, encoder_name="bert-large-uncased"), size=DenoiserSize(1024, 28, 16),
    diffusion=replace(PAPER_DIFFUSION, learning_rate=1e-4), batch_size=128, sample_steps=20,
)  # fmt: skip
TENCDM_PAPER = LatentRecipe(
    task=TEncDMTask(width=768, layers=3, heads=12, tuning_steps=0, steps=10_000, learning_rate=1e-4),
    data=BERT, size=DenoiserSize(768, 12, 12, long_skips=True), diffusion=PAPER_DIFFUSION, d=9.0, batch_size=512,
)  # fmt: skip
# COSMOS (released configuration) trains its autoencoder on Wikipedia; here it is trained on the stories themselves.
COSMOS_PAPER = LatentRecipe(
    task=CosmosTask(N=16, width=768, layers=12, heads=12, tuning_steps=0, steps=100_000, learning_rate=2e-4),
    data=replace(BERT, length=80), size=DenoiserSize(768, 12, 12, long_skips=True), diffusion=PAPER_DIFFUSION, d=5.0,
    batch_size=512, sample_steps=200,
)  # fmt: skip

LATENT_RECIPES: dict[str, tuple[str, LatentRecipe]] = {
    "ld4lg-tiny": ("LD4LG on the toy language: 4 latents of 16 numbers, then diffusion on them.", LatentRecipe()),
    "planner-tiny": ("PLANNER on the toy language: 4 codes of a variational autoencoder.", TINY_PLANNER),
    "tencdm-tiny": ("TEncDM on the toy language: diffusion on a masked model's states.", TINY_TENCDM),
    "cosmos-tiny": ("COSMOS on the toy language: 4 smooth latents.", TINY_COSMOS),
    "ld4lg-wikipedia": ("LD4LG on Wikipedia sentences, between MiniLM and a small decoder.", WIKIPEDIA),
    "planner-wikipedia": (
        "PLANNER on Wikipedia sentences, its encoder on MiniLM's states.",
        replace(
            WIKIPEDIA,
            task=PlannerTask(
                N=8, D_ae=32, width=128, encoder_layers=2, decoder_layers=2, beta=1e-4, steps=1000, learning_rate=2e-3
            ),
            diffusion=replace(REAL_DIFFUSION, steps=1200), sample_steps=20,
        ),
    ),
    "tencdm-wikipedia": (
        "TEncDM on Wikipedia sentences: diffusion on MiniLM's states.",
        replace(
            WIKIPEDIA, task=TEncDMTask(width=128, tuning_steps=0, steps=400, learning_rate=2e-3),
            diffusion=replace(REAL_DIFFUSION, steps=1300), d=9.0,
        ),
    ),
    "cosmos-wikipedia": (
        "COSMOS on Wikipedia sentences: 16 smooth latents of MiniLM's states.",
        replace(
            WIKIPEDIA, task=CosmosTask(N=16, D_ae=128, width=128, smoothing=MILD, tuning_steps=0, steps=900), d=5.0,
        ),
    ),
    "ld4lg-rocstories": ("The paper's LD4LG run on ROCStories: for a GPU and a network.", LD4LG_PAPER),
    "planner-rocstories": ("PLANNER's released sizes, on ROCStories: for a GPU and a network.", PLANNER_PAPER),
    "tencdm-rocstories": ("The paper's TEncDM run on ROCStories: for a GPU and a network.", TENCDM_PAPER),
    "cosmos-rocstories": ("COSMOS's released sizes, on ROCStories: for a GPU and a network.", COSMOS_PAPER),
}  # fmt: skip
