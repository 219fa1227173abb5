"""The recipes that the command line knows: those of the lessons, in minutes on a laptop, and those of the papers."""

from dataclasses import replace

from difflm_core.training.block_task import Block
from difflm_core.training.code_source import PythonFunctions
from difflm_core.training.d3pm_task import D3PM, Noise
from difflm_core.training.diffusion_lm_task import EmbeddingDiffusion
from difflm_core.training.hybrid_task import Hybrid
from difflm_core.training.llada_task import LLaDA
from difflm_core.training.paper_recipes import PAPERS
from difflm_core.training.piece_sentences import PieceSentences
from difflm_core.training.recipe import Decay, Engine, Recipe, Size
from difflm_core.training.sources import LocalText, Shakespeare, WikipediaSentences
from difflm_core.training.tasks import Autoregressive

__all__ = ["Decay", "Engine", "RECIPES", "Recipe", "Size"]

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

# One scoreboard: 1.84 million parameters within a hundredth (a time input costs width), 2.1e13 FLOPs by `plan.needs`
SENTENCES = replace(REAL_TEXT, data=PieceSentences(), size=Size(width=128, layers=4, dropout=0.1), steps=1400)
NARROWER = replace(SENTENCES.size, width=112, time_conditioning=True)

RECIPES: dict[str, tuple[str, Recipe]] = {
    "mdlm-tiny": ("Masked diffusion on the toy language: about two minutes on 2 CPU cores.", Recipe()),
    "ar-tiny": ("Autoregressive, on the toy language: same network, causal attention.", Recipe(task=Autoregressive())),
    "mdlm-shakespeare": ("Masked diffusion on Shakespeare, 1,024 BPE tokens.", REAL_TEXT),
    "ar-shakespeare": ("The autoregressive twin of mdlm-shakespeare.", replace(REAL_TEXT, task=Autoregressive())),
    "mdlm-wikipedia": (
        "Masked diffusion on Wikipedia sentences, 2,048 BPE tokens.",
        replace(REAL_TEXT, data=WikipediaSentences(), batch_size=128),
    ),
    "mdlm-sentences": (
        "Masked diffusion on the sentences and word pieces of the latent systems, one sentence a row.",
        SENTENCES,
    ),
    "ar-sentences": (
        "The autoregressive twin of mdlm-sentences, for as many FLOPs.",
        replace(SENTENCES, task=Autoregressive(), steps=1128),
    ),
    "block-sentences": (
        "Block diffusion on the same sentences, blocks of four pieces, for as many FLOPs.",
        replace(SENTENCES, task=Block(), steps=767),
    ),
    "gidd-sentences": (
        "Masks and random tokens on the same sentences, as many parameters and FLOPs.",
        replace(SENTENCES, task=Hybrid(), size=NARROWER, steps=1379),
    ),
    "d3pm-sentences": (
        "D3PM with absorbing noise on the same sentences, T = 128, as many parameters and FLOPs.",
        replace(SENTENCES, task=D3PM(lam=10 / 128, T=128, steps=128), size=NARROWER, steps=1141),
    ),
    "d3pm-uniform-sentences": (
        "D3PM with uniform noise on the same sentences, T = 128, the bound alone, as many parameters and FLOPs.",
        replace(SENTENCES, task=D3PM(Noise.UNIFORM, lam=0.0, T=128, steps=128), size=NARROWER, steps=1379),
    ),
    "diffusion-lm-sentences": (
        "Diffusion-LM on the same sentences, as many parameters and FLOPs.",
        replace(SENTENCES, task=EmbeddingDiffusion(D=64), size=replace(SENTENCES.size, width=144), steps=1141),
    ),
    "mdlm-text": (
        "Masked diffusion on your own text, its characters as tokens: add --data.path with a .txt file or a folder.",
        replace(REAL_TEXT, data=LocalText()),
    ),
    "gidd-tiny": (
        "Masks and random tokens (GIDD) on the toy language: about two minutes on 2 CPU cores.",
        Recipe(task=Hybrid(), size=Size(time_conditioning=True), steps=1000, evaluate_every=250),
    ),
    "gidd-shakespeare": (
        "mdlm-shakespeare with masks and random tokens, and a time input.",
        replace(REAL_TEXT, task=Hybrid(), size=replace(REAL_TEXT.size, time_conditioning=True)),
    ),
    "d3pm-tiny": (
        "D3PM with absorbing noise on the toy language, T = 64: about two minutes on 2 CPU cores.",
        Recipe(task=D3PM(lam=0.15, T=64, steps=64), size=Size(time_conditioning=True)),
    ),
    "d3pm-uniform-tiny": (
        "D3PM with uniform noise on the toy language, T = 64, the bound alone.",
        Recipe(task=D3PM(Noise.UNIFORM, lam=0.0, T=64, steps=64), size=Size(time_conditioning=True)),
    ),
    "d3pm-shakespeare": (
        "D3PM with absorbing noise on Shakespeare's characters, T = 100.",
        replace(
            REAL_TEXT,
            task=D3PM(lam=0.1, T=100, steps=100),
            data=Shakespeare(bpe=None),
            size=replace(REAL_TEXT.size, time_conditioning=True),
        ),
    ),
    "block-tiny": ("Block diffusion on the toy language, blocks of four words.", Recipe(task=Block())),
    "block-shakespeare": ("Block diffusion on Shakespeare, blocks of eight tokens.", replace(REAL_TEXT, task=Block(8))),
    "llada-tiny": (
        "LLaDA's pre-training on the toy language: no time input, a hundredth of the batches shorter.",
        Recipe(task=LLaDA()),
    ),
    "code-tiny": (
        "Masked diffusion on functions of Python's standard library (PSF licence), one a row.",
        replace(REAL_TEXT, task=LLaDA(short=0.0), data=PythonFunctions()),
    ),
    "diffusion-lm-tiny": (
        "Diffusion-LM, noise on learned embeddings, on the toy language: a few minutes on 2 CPU cores.",
        Recipe(task=EmbeddingDiffusion(), steps=3000, batch_size=64, evaluate_every=1000),
    ),
    **PAPERS,
}
