"""The latent systems of the scoreboard, within the same budget.

The frozen encoder is pretrained outside of the budget, as in the papers: mdlm-tiny, for TEncDM and COSMOS tuned until
its states show the words that are there (`studies.tencdm`). All else is paid for: reading the training texts with it,
LD4LG's language model (the encoder goes on learning, beside a new decoder), autoencoder, reading of the latents,
denoiser. Parameters are those of autoencoder and denoiser; the encoder, which writes no text, is not among them. No
system is told classes.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from difflm_core.data import toy_language
from difflm_core.models import MaskedEncoder
from difflm_core.samplers import Sample, sample_latents
from difflm_core.studies.flops import Spent, flops_of, spend
from difflm_core.studies.scoreboard_methods import CALLS, Method, Way, training_texts
from difflm_core.studies.tencdm import tuned_encoder
from difflm_core.training import States, train_latent_denoiser, train_planner_denoiser
from difflm_core.training.course import course_checkpoint
from difflm_core.training.latent_recipes import MILD, DenoiserSize, LatentRecipe
from difflm_core.training.latent_tasks import Canvas, CosmosTask, LD4LGTask, Parts, PlannerTask, TEncDMTask, Training
from difflm_core.training.states import shuffled_rows

RATE = 2e-3  # of all denoisers
SMALL = DenoiserSize(width=56, layers=2)
LD4LG = LatentRecipe(LD4LGTask(width=48, layers=1, learning_rate=3e-3), size=SMALL)
PLANNER = LatentRecipe(
    PlannerTask(width=56, encoder_layers=1, decoder_layers=2, swapped=0.1, beta=1e-4, learning_rate=4e-3), size=SMALL
)
TENCDM = LatentRecipe(TEncDMTask(width=56, layers=1), size=DenoiserSize(width=64, layers=2), d=3.0)
COSMOS = LatentRecipe(CosmosTask(width=56, layers=1, smoothing=MILD), size=SMALL, d=5.0)
# The stages of the tasks before the denoiser, and their shares of the budget; the denoiser gets the rest
SHARES = {"language_model": 0.3, "bottleneck": 0.2, "embedder": 0.5, "decoder": 0.15, "autoencoder": 0.45}


@dataclass(frozen=True, eq=False)
class Stored:
    """Texts with their states, in memory, as a source of a `Training`."""

    h: Float[Tensor, "M L D"]
    ids: Int[Tensor, "M L"]

    def __getitem__(self, rows: Int[Tensor, "B"] | slice) -> States:
        ids = self.ids[rows]
        return States(self.h[rows], torch.ones_like(ids, dtype=torch.bool), ids)

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[tuple[States, None]]:
        return ((self[rows], None) for rows in shuffled_rows(len(self.ids), batch_size, generator))


def parts_of(recipe: LatentRecipe, encoder: MaskedEncoder, seed: int) -> Parts:
    """The untrained system, without classes."""
    language = toy_language()
    torch.manual_seed(seed)
    return recipe.parts(Canvas(language.V, language.length, None, (), encoder))


def pretrained() -> MaskedEncoder:
    return MaskedEncoder("mdlm-tiny", course_checkpoint("mdlm-tiny")[0])


def read_texts(states: Callable[[Tensor], Tensor]) -> tuple[Stored, Spent]:
    """The states of all training texts, and what reading them took."""
    ids, parts, began = training_texts(), [], time.perf_counter()
    flops = flops_of(lambda: parts.extend(states(some) for some in ids.split(512)))
    return Stored(torch.cat(parts), ids), Spent(0, flops, time.perf_counter() - began)


def stage(name: str, recipe: LatentRecipe, parts: Parts, source: Stored, seed: int, budget: float) -> Spent:
    """Train what the task's stage of this name trains, for its share of the whole budget."""

    def learn(parts: Parts, steps: int):
        task = replace(recipe.task, **{"pretraining_steps" if name == "language_model" else "steps": steps})
        return getattr(task, name)(Training(parts, source, recipe.process, recipe.batch_size, seed, False))

    return spend(SHARES[name] * budget, parts, learn)


def diffusion(recipe: LatentRecipe, parts: Parts, source: Stored, seed: int, budget: float) -> dict[str, Spent]:
    """The denoiser, on latents of all texts that are read once, for what is left of the budget."""
    found, task, began = [], recipe.task, time.perf_counter()
    with torch.no_grad():
        read = flops_of(
            lambda: found.extend(
                task.encode(parts, source[first : first + 512]) for first in range(0, len(source.ids), 512)
            )
        )
    latents, seconds = torch.cat(found), time.perf_counter() - began

    def learn(self_conditioning: float, net: nn.Module, steps: int):
        generator, order = (torch.Generator().manual_seed(use + seed) for use in (500, 600))
        batches = ((latents[rows], None) for rows in shuffled_rows(len(latents), recipe.batch_size, order))
        if isinstance(task, PlannerTask):
            return train_planner_denoiser(
                net, recipe.process, batches, steps, RATE, generator=generator, progress=False
            )
        return train_latent_denoiser(
            net, recipe.process, batches, steps, RATE, task.kind, self_conditioning, generator=generator,
            progress=False,
        )  # fmt: skip

    sides = [partial(learn, coin) for coin in (0.0, 1.0)]  # one coin a batch says whether it is asked twice
    spent = spend(budget - read, parts.denoiser, partial(learn, 0.5), sides if task.self_conditioning else ())
    return {"reading of latents": Spent(0, read, seconds), "denoiser": spent}


def and_diffusion(
    name: str, recipe: LatentRecipe, parts: Parts, source: Stored, seed: int, budget: float, before: dict[str, Spent]
) -> dict[str, Spent]:
    """The stage of this name, and then diffusion for what it and all that came before it leave."""
    took = before | {name: stage(name, recipe, parts, source, seed, budget)}
    return took | diffusion(recipe, parts, source, seed, budget - sum(spent.flops for spent in took.values()))


def ld4lg(budget: float, seed: int) -> tuple[Parts, dict[str, Spent]]:
    encoder = pretrained()
    parts = parts_of(LD4LG, encoder, seed)
    parts.encoder = encoder.model
    ids = training_texts()
    unread = Stored(torch.zeros(*ids.shape, 1), ids)  # the language model reads words
    took = {"language_model": stage("language_model", LD4LG, parts, unread, seed, budget)}
    source, took["reading of texts"] = read_texts(MaskedEncoder("tuned", parts.encoder).states)
    parts.encoder = None  # it writes no text
    return parts, and_diffusion("bottleneck", LD4LG, parts, source, seed, budget, took)


def planner(budget: float, seed: int) -> tuple[Parts, dict[str, Spent]]:
    encoder = pretrained()
    table = F.rms_norm(encoder.embeddings, (encoder.dim,))  # its word embeddings alone, as in the study of PLANNER
    source, read = read_texts(lambda ids: table[ids])
    parts = parts_of(PLANNER, encoder, seed)
    return parts, and_diffusion("embedder", PLANNER, parts, source, seed, budget, {"reading of texts": read})


@cache
def tuned_states() -> tuple[Stored, Spent]:
    return read_texts(tuned_encoder().states)


def on_tuned_states(recipe: LatentRecipe, name: str, budget: float, seed: int) -> tuple[Parts, dict[str, Spent]]:
    """TEncDM and COSMOS."""
    source, read = tuned_states()
    parts = parts_of(recipe, tuned_encoder(), seed)
    return parts, and_diffusion(name, recipe, parts, source, seed, budget, {"reading of texts": read})


def tencdm(budget: float, seed: int) -> tuple[Parts, dict[str, Spent]]:
    return on_tuned_states(TENCDM, "decoder", budget, seed)


def cosmos(budget: float, seed: int) -> tuple[Parts, dict[str, Spent]]:
    return on_tuned_states(COSMOS, "autoencoder", budget, seed)


def by_steps(recipe: LatentRecipe, parts: Parts, calls: int, count: int, generator: torch.Generator) -> Sample:
    """`calls` of the denoiser; those of the decoder come on top."""
    net, task = parts.denoiser, recipe.task
    drawn = sample_latents(
        recipe.process, net, (count, net.config.length, net.config.D), calls, generator, task.kind, task.step,
        self_condition=task.self_conditioning > 0,
    )  # fmt: skip
    written = task.write(parts, drawn.x)
    return Sample(written.tokens, drawn.network_calls + written.network_calls)


MDLM_TINY = "mdlm-tiny (244,800 parameters, 1,500 steps of 256 fresh texts, 6.4e12 FLOPs)"
TUNED = f"{MDLM_TINY}, tuned for 400 steps of 64 (4e11 FLOPs)"
NO_BOUND = "diffusion bounds the density of latents, and nothing ties that to the probability of a text"
METHODS = {
    name: Method(train, {"diffusion": Way(CALLS, partial(by_steps, recipe))}, None, why, before)
    for name, train, recipe, why, before in (
        ("ld4lg", ld4lg, LD4LG, NO_BOUND, MDLM_TINY),
        (
            "planner", planner, PLANNER,
            "the diffusion is trained on means of codes, the bound of the autoencoder is on draws of codes",
            f"word embeddings of {MDLM_TINY}",
        ),
        ("tencdm", tencdm, TENCDM, NO_BOUND, TUNED),
        ("cosmos", cosmos, COSMOS, NO_BOUND, TUNED),
    )
}  # fmt: skip
