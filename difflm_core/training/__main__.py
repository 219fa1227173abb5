"""`python -m difflm_core.training RECIPE [--steps N ...]`: train, compare with what is known, and show samples."""

import difflib
import os
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro

from difflm_core.data.cache import ArchiveError
from difflm_core.training import latent_run
from difflm_core.training.checkpoints import checkpoints
from difflm_core.training.latent_plan import plan_latents
from difflm_core.training.latent_recipes import LATENT_RECIPES, LatentRecipe
from difflm_core.training.loop import build, train
from difflm_core.training.plan import plan
from difflm_core.training.recipes import RECIPES, Recipe
from difflm_core.training.report import report
from difflm_core.training.scaling import Cluster, plan_scaling
from difflm_core.training.stops import TrainingStopped

INTERRUPTED = 130  # as the shell has it for Ctrl-C
KNOWN = RECIPES | LATENT_RECIPES
AnyRecipe = tyro.extras.subcommand_type_from_defaults(
    {name: recipe for name, (_, recipe) in KNOWN.items()},
    {name: text for name, (text, _) in KNOWN.items()},
    prefix_names=False,
)


@dataclass(frozen=True)
class Command:
    """Train one of the course's recipes. Every number of a recipe can be changed: `mdlm-tiny --help` lists them.

    SIGTERM saves and ends with status 75: the same command with --resume goes on. A latent system (ld4lg-tiny, ...)
    saves after each of its stages only, and loses the one that was cut off.

    Beside this command: `python -m difflm_core.data.prepare` tokenises a corpus for it; `python -m
    difflm_core.training.gstar mdlm-tiny` trains the error predictor of G-Star for the denoiser of a run; `python -m
    difflm_core.training.adapt` makes a masked diffusion model of an autoregressive language model; `python -m
    difflm_core.training.export RUN FOLDER` gives a model away.
    """

    recipe: Annotated[AnyRecipe, tyro.conf.arg(name="")]
    folder: Path | None = None
    """Where the log and the checkpoints go (default: runs/ and the recipe's name)."""
    resume: bool = False
    """Go on with the run in that folder."""
    plan: bool = False
    """Say what the run would take and what to expect of it, and do not start it."""
    gpus: tuple[int, ...] = ()
    """With --plan: computing and sending on so many GPUs, such as 1 8 64, on paper."""
    cluster: Cluster = field(default_factory=Cluster)
    trackers: tuple[str, ...] = ()
    """Where the log goes too: tensorboard, wandb, ..., if that package is installed."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Where to train."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 stopped by an error (one sentence on it), 2 not understood, 75 told to end (SIGTERM) and
    saved, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    name = next((word for word in arguments if word in KNOWN), None)
    if name is None and not {"-h", "--help"} & set(arguments):
        print(which_recipe(arguments), file=sys.stderr)
        return 2
    command = tyro.cli(
        Command,
        args=arguments,
        config=(tyro.conf.CascadeSubcommandArgs, tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands),
        prog="python -m difflm_core.training",
    )
    folder = command.folder or Path("runs") / name
    try:
        return run(command, name, folder)
    except KeyboardInterrupt:
        found = checkpoints(folder)
        print(f"Interrupted.{f' The newest checkpoint is {found[-1]}.' if found else ''}", file=sys.stderr)
        return INTERRUPTED
    except (TrainingStopped, ArchiveError, OSError, ValueError) as error:
        print(f"Stopped: {sentence(error)}", file=sys.stderr)
        return 1


def run(command: Command, name: str, folder: Path) -> int:
    recipe: Recipe | LatentRecipe = command.recipe
    latent = isinstance(recipe, LatentRecipe)
    if command.gpus and (latent or not command.plan):
        said = "latent systems are trained in one process" if latent else "add --plan, or start with torchrun to train"
        raise ValueError(f"--gpus lays out on paper what several GPUs would do: {said}.")
    if command.plan:
        plain = plan_latents(name, recipe) if latent else plan(name, recipe)
        print(plan_scaling(name, recipe, command.gpus, command.cluster) if command.gpus else plain)
        return 0
    check_device(command.device)
    if latent:
        return latent_run.run(name, recipe, folder, command.resume, command.device, command.trackers)
    started, speaks = time.perf_counter(), int(os.environ.get("RANK", 0)) == 0  # one of the processes that train
    if speaks:
        model = build(recipe)
        size, V, length = f"{model.parameters_count():,} parameters", model.V, model.length
        print(
            f"{name}: {size}, V = {V}, length {length}, {recipe.steps} steps of {recipe.batch_size} {where()}; "
            f"into {folder}"
        )
    done = train(recipe, folder, command.resume, device=command.device, trackers=command.trackers)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if not done.finished:
        return INTERRUPTED
    if speaks:
        print(f"Trained in {time.perf_counter() - started:.0f} s.")
        report(recipe, done.model.cpu())
    return 0


def where() -> str:
    """On what: threads of one process, or how many processes."""
    processes = int(os.environ.get("WORLD_SIZE", 1))
    return f"on {torch.get_num_threads()} threads" if processes == 1 else f"in {processes} processes"


def which_recipe(arguments: list[str]) -> str:
    """What to say if no recipe was named."""
    words = [word for word in arguments if not word.startswith("-")]
    close = [(word, near) for word in words if (near := difflib.get_close_matches(word, KNOWN, n=3))]
    said = "Say which recipe to train."
    if close:
        said = f"There is no recipe {close[0][0]!r}. Did you mean {' or '.join(close[0][1])}?"
    elif words:
        said = f"There is no recipe {words[-1]!r}."
    listed = "\n".join(f"  {name:17} {text}" for name, (text, _) in KNOWN.items())
    return f"{said} They are:\n{listed}\nFor the settings: python -m difflm_core.training {next(iter(RECIPES))} --help"


def check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"--device {device} cannot be used here ({reason}): leave it out, or try cpu.") from error


def sentence(error: Exception) -> str:
    """The message without Python's [Errno N]."""
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error))


if __name__ == "__main__":
    sys.exit(main())
