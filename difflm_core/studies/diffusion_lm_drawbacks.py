"""Diffusion-LM's three drawbacks, measured on the toy language, and its transformer against a 1-D U-Net.

Slow convergence: bound and grammar while training, beside masked diffusion with the same trunk, batches and learning
rates. Many steps: grammar against sampling steps, with and without clamping. Mode collapse: distinct n-grams, entropy
inside a sentence and over sentences, beside those of true sentences. About 30 minutes on one core.
"""

import time
from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

from difflm_core.data import toy_language
from difflm_core.evaluation import distinct_n, estimate_nelbo
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.models.diffusion_lm import DiffusionLM
from difflm_core.models.unet1d import UNet1d, UNet1dConfig
from difflm_core.models.vector_transformer import VectorConfig, VectorTransformer
from difflm_core.objectives import masked_nelbo, masked_nelbo_by_count, stratified_times
from difflm_core.objectives.diffusion_lm import diffusion_lm_loss
from difflm_core.objectives.diffusion_lm_bound import diffusion_lm_nelbo
from difflm_core.oracle import PerfectReader
from difflm_core.processes import masked
from difflm_core.samplers import (
    Sample,
    ancestral,
    first_hitting,
    sample_gaussian,
    sample_masked,
)
from difflm_core.samplers.diffusion_lm import sample_diffusion_lm
from difflm_core.studies import store
from difflm_core.studies.diffusion_lm_dimension import fit
from difflm_core.studies.toy_quality import quality

SETTINGS = {
    "D": 16,
    "T": 2000,  # of the training loss
    "T_bound": 200,  # of the bound
    "width": 96,
    "layers": 2,
    "batch_size": 128,
    "learning_rate": 3e-3,
    "warmup": 50,
    "ema": 0.99,
    "train_steps": {"vectors": 1600, "masks": 400},
    "looks": [50, 100, 200, 400, 800, 1600],  # training steps at which bound and grammar are measured
    "look_steps": 100,  # sampling steps of such a look (of Diffusion-LM)
    "look_samples": 256,
    "look_sentences": 64,
    "sampling_steps": [5, 10, 20, 50, 100, 200],
    "clamp_from": [None, 0.5, 1.0],
    "samples": 512,
    "exact_steps": [5, 10, 20, 50, 100],
    "exact_samples": 128,
    "diverse_samples": 1000,
    "backbone_steps": 400,
}
SEEDS = (0, 1, 2)
Look = Callable[[torch.nn.Module], dict]


def vectors(seed: int, backbone: str = "transformer") -> DiffusionLM:
    torch.manual_seed(seed)
    language, D = toy_language(), SETTINGS["D"]
    if backbone == "transformer":
        net = VectorTransformer(VectorConfig(D, language.length, SETTINGS["width"], SETTINGS["layers"]))
    else:
        net = UNet1d(UNet1dConfig(D, language.length))
    return DiffusionLM(language.V, net)


def masks(seed: int) -> Transformer:
    torch.manual_seed(seed)
    language = toy_language()
    return Transformer(TransformerConfig(language.V, language.length, SETTINGS["width"], SETTINGS["layers"]))


def vector_loss(model: DiffusionLM, x: Tensor, generator: torch.Generator) -> Tensor:
    return diffusion_lm_loss(model, x, stratified_times(len(x), generator), generator, SETTINGS["T"]).as_code.mean()


def mask_loss(model: Transformer, x: Tensor, generator: torch.Generator) -> Tensor:
    return masked_nelbo(masked(model.V), model, x, stratified_times(len(x), generator), generator).mean()


def grammatical(sample: Sample) -> float:
    return toy_language().grammatical(sample.tokens).double().mean().item()


@torch.no_grad()
def look_at_vectors(model: DiffusionLM) -> dict:
    generator = torch.Generator().manual_seed(5)
    x = toy_language().sample(SETTINGS["look_sentences"], generator=torch.Generator().manual_seed(4321))
    shape = (SETTINGS["look_samples"], model.length)
    sample = sample_diffusion_lm(model, SETTINGS["look_steps"], shape, generator=generator)
    bound = diffusion_lm_nelbo(model, x, SETTINGS["T_bound"], generator, model.rounded_x_hat).nelbo.mean().item()
    return {"bound": bound, "grammatical": grammatical(sample)}


@torch.no_grad()
def look_at_masks(model: Transformer) -> dict:
    generator = torch.Generator().manual_seed(5)
    x = toy_language().sample(16 * SETTINGS["look_sentences"], generator=torch.Generator().manual_seed(4321))
    shape = (SETTINGS["look_samples"], model.length)
    sample = sample_masked(model, first_hitting(), shape, generator=generator)
    process = masked(model.V)
    bound = estimate_nelbo(lambda x, t, g: masked_nelbo_by_count(process, model, x, t, g), [x], 4, generator).mean
    return {"bound": bound, "grammatical": grammatical(sample)}


def followed(model, loss, steps: int, seed: int, look: Look) -> tuple[torch.nn.Module, list[dict]]:
    """Train, and look at the averaged weights from time to time; the looks do not count as training seconds."""
    curve, began, looking = [], time.perf_counter(), 0.0

    def at(step: int, averaged: torch.nn.Module) -> None:
        nonlocal looking
        if step not in SETTINGS["looks"] and step != steps:
            return
        start = time.perf_counter()
        averaged.eval()
        curve.append({"step": step, "seconds": start - began - looking, **look(averaged)})
        averaged.train()
        looking += time.perf_counter() - start

    return fit(model, loss, steps, seed, SETTINGS, at), curve


def variety(tokens: Int[Tensor, "B L"]) -> dict:
    """Figures that fall when a sampler prefers the usual; they depend on the number of sentences."""
    return {**quality(tokens, least=20), **{f"distinct_{n}": distinct_n(tokens, n) for n in (1, 2, 3)}}


def qualities(model: DiffusionLM, seed: int) -> list[dict]:
    """Grammar and variety against steps and clamping."""
    rows = []
    for clamp_from in SETTINGS["clamp_from"]:
        for T in SETTINGS["sampling_steps"]:
            generator, shape = torch.Generator().manual_seed(seed), (SETTINGS["samples"], model.length)
            sample = sample_diffusion_lm(model, T, shape, clamp_from=clamp_from, generator=generator)
            rows.append({"clamp_from": clamp_from, "steps": T, **variety(sample.tokens)})
    return rows


@torch.no_grad()
def exact_qualities(model: DiffusionLM, seed: int) -> list[dict]:
    """The same sampler with a perfect network, E[x_0 | z_t] for this model's embeddings: what is then wrong is the
    sampler's.
    """
    perfect = PerfectReader(model, toy_language())
    rows = []
    for T in SETTINGS["exact_steps"]:
        generator, shape = torch.Generator().manual_seed(seed), (SETTINGS["exact_samples"], model.length, model.D)
        tokens = model.round(sample_gaussian(model.process, perfect.x_hat, T, shape, generator).x)
        rows.append({"steps": T, **variety(tokens)})
    return rows


def varieties(model: DiffusionLM, twin: Transformer, seed: int) -> dict[str, dict]:
    """At equal number of sentences: truth, masked diffusion, and ways to sample from vectors."""
    n, L = SETTINGS["diverse_samples"], model.length
    shape, T = (n, L), SETTINGS["look_steps"]

    def drawn(**settings) -> Tensor:
        return sample_diffusion_lm(model, T, shape, generator=torch.Generator().manual_seed(seed), **settings).tokens

    generator = torch.Generator().manual_seed(seed)
    return {
        "true sentences": variety(toy_language().sample(n, generator=generator)),
        "masked diffusion": variety(sample_masked(twin, ancestral(2 * L), shape, generator=generator).tokens),
        "ancestral": variety(drawn()),
        "ancestral, clamped": variety(drawn(clamp_from=1.0)),
        "DDIM": variety(drawn(eta=0.0)),
        "DDIM, clamped": variety(drawn(eta=0.0, clamp_from=1.0)),
    }


def run(seed: int, train_steps: dict = SETTINGS["train_steps"], backbone_steps: int = SETTINGS["backbone_steps"]):
    """One dict per network."""
    model, curve = followed(vectors(seed), vector_loss, train_steps["vectors"], seed, look_at_vectors)
    twin, twin_curve = followed(masks(seed), mask_loss, train_steps["masks"], seed, look_at_masks)
    yield {"network": "vectors", "parameters": model.parameters_count(), "curve": curve,
           "qualities": qualities(model, seed), "exact_qualities": exact_qualities(model, seed),
           "varieties": varieties(model, twin, seed)}  # fmt: skip
    yield {"network": "masks", "parameters": twin.parameters_count(), "curve": twin_curve}
    for backbone in ("transformer", "unet"):
        began = time.perf_counter()
        small = fit(vectors(seed, backbone), vector_loss, backbone_steps, seed, SETTINGS)
        seconds = time.perf_counter() - began
        yield {"network": f"backbone {backbone}", "parameters": small.parameters_count(), "seconds": seconds,
               "read": read(small), **look_at_vectors(small)}  # fmt: skip


@torch.no_grad()
def read(model: DiffusionLM) -> float:
    """Share of words that one call reads right from z_t, mean over times."""
    generator = torch.Generator().manual_seed(4321)
    x, right = toy_language().sample(512, generator=generator), []
    for time_ in (0.1, 0.3, 0.5, 0.7, 0.9):
        t = torch.full((len(x),), time_)
        z_t = model.process.corrupt(model.start(x, generator), t, generator)
        right.append((model.round(model.x_hat(z_t, t)) == x).double().mean())
    return torch.stack(right).mean().item()


def told(row: dict) -> str:
    shown = row["curve"][-1] if "curve" in row else {key: row[key] for key in ("bound", "read", "grammatical")}
    return f"{row['network']:20} {shown}"


def main() -> None:
    store.over_seeds("diffusion_lm_drawbacks", SETTINGS, SEEDS, run, told)


if __name__ == "__main__":
    main()
