"""Folders that hold a latent system: weights in safetensors, `config.json` with recipe, canvas and report, and the
tokenizer. `course_latents("ld4lg-tiny")` opens those of the course.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor

from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives.cosmos import Smoothing
from difflm_core.training.checkpoints import damaged, load_tokenizer, read_about, read_tensors
from difflm_core.training.course import CHECKPOINTS
from difflm_core.training.folders import write_folder
from difflm_core.training.latent_recipes import LATENT_RECIPES, DenoiserSize, LatentRecipe
from difflm_core.training.latent_sources import HubStates, ToyStates, WikipediaStates
from difflm_core.training.latent_system import LatentReport, LatentSystem
from difflm_core.training.latent_tasks import (
    Canvas,
    CosmosTask,
    DenoiserTraining,
    LD4LGTask,
    PlannerTask,
    TEncDMTask,
)
from difflm_core.training.resume import plain

TASKS = {kind.__name__: kind for kind in (LD4LGTask, PlannerTask, TEncDMTask, CosmosTask)}
SOURCES = {kind.__name__: kind for kind in (ToyStates, WikipediaStates, HubStates)}


@dataclass(frozen=True)
class KnownEncoder:
    """What remains of an encoder where only its sizes matter: its weights are not needed to write texts."""

    name: str
    dim: int
    special: int  # how many tokens stand for no word

    @property
    def embeddings(self) -> Float[Tensor, "S D"]:
        return torch.zeros(self.special, self.dim)

    @property
    def special_ids(self) -> Int[Tensor, "S"]:
        return torch.arange(self.special)


def course_latents(name: str) -> LatentSystem:
    """A latent system of lessons/checkpoints. Errors name the command that makes it."""
    folder = CHECKPOINTS / name
    if not folder.is_dir():
        if name not in LATENT_RECIPES:
            raise ValueError(f"There is no latent system {name!r}: the recipes are {', '.join(LATENT_RECIPES)}.")
        raise FileNotFoundError(
            f"lessons/checkpoints/{name} is missing; make it with: python -m difflm_core.training.course {name}"
        )
    return load_latents(folder)


def save_latents(folder: Path, system: LatentSystem, stages: list[str], about: dict | None = None) -> Path:
    """Write a system whose `stages` are trained, all or nothing. Raises OSError with a sentence where it cannot."""
    canvas, encoder = system.canvas, system.parts.encoder
    sizes = {"V": canvas.V, "length": canvas.length, "end": canvas.end, "labels": list(canvas.labels)}
    known = {"name": canvas.encoder.name, "dim": canvas.dim, "special": len(canvas.encoder.special_ids)}
    content = {
        "name": system.name,
        "latent": plain(system.recipe),
        "stages": stages,
        "canvas": sizes,
        "encoder": known | {"fingerprint": system.fingerprint},
        "tuned_encoder": None if encoder is None else asdict(encoder.config),
        "report": asdict(system.report),
    }
    texts = {"config.json": json.dumps(content | (about or {}), indent=1) + "\n"}
    texts["tokenizer.json"] = system.tokenizer.to_str(pretty=True)
    return write_folder(folder, {"model.safetensors": dict(system.parts.state_dict())}, texts)


def load_latents(folder: Path | str, V: int | None = None, device=None, unfinished: bool = False) -> LatentSystem:
    """The system in a folder of `save_latents`, in float32; give V to be sure that it was made for this vocabulary.

    Raises FileNotFoundError where files are missing, ValueError for damaged ones, another vocabulary, a folder that
    holds something else, and a system that is not trained to its end (`unfinished` takes it).
    """
    folder = Path(folder)
    about = read_about(folder)
    if "latent" not in about:
        raise ValueError(f"{folder} holds no latent system: open it with load_model.")
    try:
        recipe, canvas = recipe_from(about["latent"]), canvas_from(about)
        parts = recipe.parts(canvas)
        if about["tuned_encoder"] is not None:
            parts.encoder = Transformer(TransformerConfig(**about["tuned_encoder"])).requires_grad_(False)
        report, fingerprint, stages = LatentReport(**about["report"]), about["encoder"]["fingerprint"], about["stages"]
    except (KeyError, TypeError) as error:
        raise ValueError(damaged(folder, f"config.json does not describe a latent system ({error!r})")) from None
    if V is not None and canvas.V != V:
        raise ValueError(
            f"The system in {folder} was made for a vocabulary of {canvas.V} tokens, not {V}: use the tokenizer that "
            "is stored with it."
        )
    if (missing := [stage for stage in recipe.stages() if stage not in stages]) and not unfinished:
        raise ValueError(
            f"The system in {folder} is not trained to its end (missing: {', '.join(missing)}): go on with --resume."
        )
    weights = {key: value.float() if value.is_floating_point() else value for key, value in tensors(folder).items()}
    try:
        parts.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(damaged(folder, f"its weights do not fit its config.json: {error}")) from error
    tokenizer: Tokenizer = load_tokenizer(folder)
    return LatentSystem(about["name"], recipe, canvas, tokenizer, parts.to(device).eval(), fingerprint, report)


def tensors(folder: Path) -> dict[str, Tensor]:
    return read_tensors(folder / "model.safetensors")


def canvas_from(about: dict) -> Canvas:
    known, sizes = about["encoder"], about["canvas"]
    encoder = KnownEncoder(known["name"], known["dim"], known["special"])
    return Canvas(sizes["V"], sizes["length"], sizes["end"], tuple(sizes["labels"]), encoder)


def recipe_from(described: dict) -> LatentRecipe:
    """The recipe that `plain` wrote."""
    settings = dict(described["settings"])
    task = dict(settings.pop("task"))
    if "smoothing" in task:
        task["smoothing"] = Smoothing(**task["smoothing"])
    return LatentRecipe(
        task=TASKS[described["task"]](**task),
        data=SOURCES[described["data"]](**settings.pop("data")),
        size=DenoiserSize(**settings.pop("size")),
        diffusion=DenoiserTraining(**settings.pop("diffusion")),
        **settings,
    )
