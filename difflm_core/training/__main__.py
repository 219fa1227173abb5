"""`python -m difflm_core.training RECIPE [--steps N ...]`: train, compare with what is known, and show samples."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from difflm_core.training.loop import TrainingStopped, build, train
from difflm_core.training.recipes import RECIPES, Recipe
from difflm_core.training.report import report

AnyRecipe = tyro.extras.subcommand_type_from_defaults(
    {name: recipe for name, (_, recipe) in RECIPES.items()},
    {name: text for name, (text, _) in RECIPES.items()},
    prefix_names=False,
)


@dataclass(frozen=True)
class Command:
    """Train one of the course's recipes. Every number of a recipe can be changed: `mdlm-tiny --help` lists them."""

    recipe: Annotated[AnyRecipe, tyro.conf.arg(name="")]
    folder: Path | None = None
    """Where the log and the checkpoints go (default: runs/ and the recipe's name)."""
    resume: bool = False
    """Go on with the run in that folder."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Where to train."""


def name_of(arguments: list[str]) -> str:
    return next((word for word in arguments if word in RECIPES), "run")


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    command = tyro.cli(
        Command,
        args=arguments,
        config=(tyro.conf.CascadeSubcommandArgs, tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands),
        prog="python -m difflm_core.training",
    )
    recipe: Recipe = command.recipe
    folder = command.folder or Path("runs") / name_of(arguments)
    started = time.perf_counter()
    try:
        model = build(recipe)
        print(
            f"{name_of(arguments)}: {model.parameters_count():,} parameters, V = {model.V}, length "
            f"{model.length}, {recipe.steps} steps of {recipe.batch_size} on {torch.get_num_threads()} threads; "
            f"into {folder}"
        )
        run = train(recipe, folder, command.resume, device=command.device)
    except (TrainingStopped, OSError, ValueError) as error:
        print(f"Stopped: {error}", file=sys.stderr)
        return 1
    if not run.finished:
        return 130  # as the shell does for Ctrl-C
    print(f"Trained in {time.perf_counter() - started:.0f} s.")
    report(recipe, run.model.cpu())
    return 0


if __name__ == "__main__":
    sys.exit(main())
