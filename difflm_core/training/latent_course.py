"""Course checkpoints of latent systems: trained, stored in half precision, measured, and described by a card."""

import hashlib
from dataclasses import replace
from pathlib import Path

from difflm_core.studies.store import made_on
from difflm_core.training.course import CHECKPOINTS
from difflm_core.training.latent_checkpoints import save_latents
from difflm_core.training.latent_recipes import LATENT_RECIPES
from difflm_core.training.latent_run import finished_stages, measured, train_latents
from difflm_core.training.latent_sources import ToyStates
from difflm_core.training.latent_system import LatentSystem, toy_reference

RULE = "|---|---|"


def make_latents(name: str, runs: Path) -> Path:
    """Train the recipe, or take up its run, and store it in lessons/checkpoints. Errors as `train_latents`."""
    recipe, run = LATENT_RECIPES[name][1], runs / f"course-{name}"
    system = train_latents(name, recipe, run, resume=bool(finished_stages(run)))
    return publish_latents(system, CHECKPOINTS / name)


def publish_latents(system: LatentSystem, folder: Path) -> Path:
    """Store a system in half precision; what its card says was measured with the rounded weights."""
    state = system.parts.state_dict()
    rounded = {key: value.half().float() if value.is_floating_point() else value for key, value in state.items()}
    system.parts.load_state_dict(rounded)
    figures, texts = measured(system)
    system = replace(system, report=replace(system.report, figures=figures, texts=texts))
    about = {"made_on": made_on(), "data_sha256": system.recipe.data.texts_hash}
    system.parts.half()
    try:
        save_latents(folder, system, list(system.recipe.stages()), about)
    finally:
        system.parts.float()
    (folder / "README.md").write_text(card(system, folder, about), encoding="utf-8")
    return folder


def card(system: LatentSystem, folder: Path, about: dict) -> str:
    made, report, recipe = about["made_on"], system.report, system.recipe
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    counts = ", ".join(f"{part} {sum(p.numel() for p in net.parameters()):,}" for part, net in parts_of(system))
    stages = "\n".join(
        f"| {stage} | {report.seconds[stage]:.0f} | {' '.join(f'{x:.3g}' for x in losses)} |"
        for stage, losses in report.losses.items()
    )
    figures = "\n".join(f"| {name} | {value:.4g} |{reference(system, name)}" for name, value in report.figures.items())
    samples = "\n\n".join(f"```\n{text}\n```" for text in report.texts)
    return f"""# {system.name}

{LATENT_RECIPES[system.name][0]}

| | |
{RULE}
| made by | `python -m difflm_core.training.course {system.name}` (seed {recipe.seed}) |
| code | {made["code"]}, torch {made["torch"]}, {made["threads"]} threads, {made["date"]} |
| parameters | {counts}, stored in half precision |
| task | {recipe.task} |
| data | {recipe.data} |
| diffusion | {recipe.diffusion}, tan-{recipe.d:g} |
| encoder | {system.canvas.encoder.name}, sha256 `{system.fingerprint}` |
| sha256 of the texts | `{about["data_sha256"]}` |
| sha256 of model.safetensors | `{weights}` |
| licence | MIT (weights); for texts and encoder see README.md |

| stage | seconds | loss: means of twentieths of the stage |
|---|---|---|
{stages}

Measured on {recipe.data.held_out:,} held-out texts at most (reconstruction), and on {recipe.sample_steps} steps of
sampling with classes as frequent as in these texts (but for the figure that says otherwise). There is no bound on the
likelihood of texts for a system of this kind.

| figure | value | true texts |
|---|---|---|
{figures}

Four samples, not chosen (seed 0):

{samples}
"""


def parts_of(system: LatentSystem):
    return [(name, net) for name, net in system.parts.named_children() if any(True for _ in net.parameters())]


def reference(system: LatentSystem, figure: str) -> str:
    """The figure of true sentences, where it is exact."""
    known = toy_reference() if isinstance(system.recipe.data, ToyStates) else {}
    return f" {known[figure]:.4g} |" if known.get(figure) is not None else " |"
