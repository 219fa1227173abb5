"""Training a latent system, stage by stage. After each stage everything is written down; a run that was cut off goes on
with the stage that it was in, and ends as it would have ended. Ctrl-C and SIGTERM end a stage at its next batch, never
while something is written.
"""

import copy
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from difflm_core.models import MaskedEncoder
from difflm_core.training.interrupts import RESUME, end_if, signals_wait
from difflm_core.training.latent_checkpoints import load_latents, save_latents
from difflm_core.training.latent_log import Journal
from difflm_core.training.latent_recipes import LatentRecipe
from difflm_core.training.latent_system import LatentReport, LatentSystem, measured
from difflm_core.training.latent_tasks import Canvas, Training
from difflm_core.training.resume import differences, plain
from difflm_core.training.trackers import check_tracker

CURVE = 20  # numbers that are kept of a stage's losses


def train_latents(
    name: str,
    recipe: LatentRecipe,
    folder: Path | str | None = None,
    resume: bool = False,
    progress: bool = True,
    device=None,
    trackers: tuple[str, ...] = (),
) -> LatentSystem:
    """Train a recipe through all its stages, and measure it. With a `folder`, stage-1, stage-2, ... are written there,
    and log.jsonl, whose rows `trackers` (tensorboard, wandb, ...) get too when a stage has ended; `resume` goes on
    after the last stage. Ctrl-C raises KeyboardInterrupt, SIGTERM SystemExit with status 75; the stage in progress is
    lost.

    Raises FileExistsError for a folder that holds a run, FileNotFoundError if there is nothing to resume, ValueError
    for other settings or another encoder than the run began with, ArchiveError where encoder or texts cannot be had,
    `TrainingStopped` for a loss that is not finite, OSError where nothing can be written.
    """
    if trackers and folder is None:
        raise ValueError("Trackers need the folder of the run.")
    for tracker in trackers:
        check_tracker(tracker)
    folder = None if folder is None else Path(folder)
    system, done = open_run(name, recipe, folder, resume)
    system.parts.to(device)
    journal = None if folder is None else Journal(trackers, folder, recipe)
    with signals_wait() as asked:
        for i, (stage, train) in enumerate(recipe.stages().items()):
            if stage not in done:
                system = one_stage(system, stage, train, progress, asked)
                done.append(stage)
                if folder is not None:
                    save_latents(folder / f"stage-{i + 1}", system, done)
                    journal.about(system)
            end_if(asked)
    system.parts.eval()
    figures, texts = measured(system)
    system = replace(system, report=replace(system.report, figures=figures, texts=texts))
    if folder is not None:
        journal.about(system, last=True)
    return system


def one_stage(system: LatentSystem, stage: str, train, progress: bool, asked: Sequence[int]) -> LatentSystem:
    """The system after `train`, one of its recipe's stages, with that stage's losses and seconds in the report."""
    recipe, report, began = system.recipe, system.report, time.perf_counter()
    losses = train(Training(system.parts, recipe.data, recipe.process, recipe.batch_size, recipe.seed, progress, asked))
    seconds = report.seconds | {stage: round(time.perf_counter() - began, 1)}
    return replace(system, report=replace(report, losses=report.losses | {stage: curve(losses)}, seconds=seconds))


def open_run(name: str, recipe: LatentRecipe, folder: Path | None, resume: bool) -> tuple[LatentSystem, list[str]]:
    """The system as the run left it, or a new one, and the stages that are trained."""
    found = [] if folder is None else finished_stages(folder)
    if resume and not found:
        raise FileNotFoundError(f"There is nothing to resume in {folder}: no stage of a latent system was finished.")
    if found and not resume:
        raise FileExistsError(f"{folder} already holds a run: add --resume to go on with it, or name another folder.")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: name a folder for the run.")
    fresh = untrained(name, recipe)
    if not found:
        return fresh, []
    system = load_latents(found[-1], fresh.canvas.V, unfinished=True)
    if changed := differences(plain(system.recipe), plain(recipe)):
        raise ValueError(
            f"The run in {folder} was started with other settings ({', '.join(changed)}): resume it with the same "
            "ones, or name another folder."
        )
    if system.fingerprint != fresh.fingerprint:
        raise ValueError(
            f"The run in {folder} was started with another encoder ({system.canvas.encoder.name}): resume it with that "
            "one, or name another folder."
        )
    return system, list(recipe.stages())[: len(found)]


def untrained(name: str, recipe: LatentRecipe) -> LatentSystem:
    """The recipe's system, initialised from its seed. A small encoder that will be tuned is a copy of the source's."""
    source = recipe.data
    encoder = source.encoder()
    canvas = Canvas(source.V, source.length, source.end, source.labels, encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        parts = recipe.parts(canvas)
    if recipe.task.tune_encoder:
        if not isinstance(encoder, MaskedEncoder):
            raise ValueError(f"{encoder.name} is too large to be tuned here: set tune_encoder, or tuning_steps, to 0.")
        parts.encoder = copy.deepcopy(encoder.model)
    return LatentSystem(name, recipe, canvas, source.tokenizer(), parts, source.fingerprint, LatentReport())


def finished_stages(folder: Path) -> list[Path]:
    """stage-1, stage-2, ... as far as they are there without a gap."""
    found: list[Path] = []
    while (following := folder / f"stage-{len(found) + 1}").is_dir():
        found.append(following)
    return found


def curve(losses: list[float]) -> list[float]:
    """Means of CURVE parts of equal length, or all of fewer losses."""
    parts = min(CURVE, len(losses))
    ends = [round(len(losses) * i / parts) for i in range(parts + 1)]
    return [sum(losses[a:b]) / (b - a) for a, b in zip(ends, ends[1:])]


def told(system: LatentSystem) -> str:
    """What the command line says of a finished system."""
    lines = [f"{stage:20} {system.report.seconds[stage]:6.0f} s   loss {losses[0]:.3f} -> {losses[-1]:.3f}"
             for stage, losses in system.report.losses.items()]  # fmt: skip
    lines += [f"{name:20} {value:.4g}" for name, value in system.report.figures.items()]
    return "\n".join([*lines, "samples:", *(f"  {text}" for text in system.report.texts)])


def run(
    name: str, recipe: LatentRecipe, folder: Path, resume: bool, device: str, trackers: tuple[str, ...] = ()
) -> int:
    """What `python -m difflm_core.training NAME` does for a latent recipe; the exit status. Raises ValueError where it
    was started as one of several processes.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ValueError("Latent systems are trained in one process: start without accelerate or torchrun.")
    count = sum(p.numel() for p in untrained(name, recipe).parts.parameters())
    print(f"{name}: {count:,} parameters, stages: {', '.join(recipe.stages())}; into {folder}")
    try:
        system = train_latents(name, recipe, folder, resume, device=device, trackers=trackers)
    except (KeyboardInterrupt, SystemExit) as end:
        kept = finished_stages(folder)
        said = f"the last finished stage is {kept[-1]}; to go on: the same command with --resume" if kept else ""
        print(f"Interrupted; {said or 'no stage was finished: start again without --resume'}.")
        return RESUME if isinstance(end, SystemExit) else 130
    save_latents(folder / f"stage-{len(recipe.stages())}", system, list(recipe.stages()))
    print(told(system))
    return 0
