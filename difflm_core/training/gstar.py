"""`python -m difflm_core.training.gstar mdlm-owt`: the error predictor of G-Star for a denoiser that a recipe trained.

The denoiser is the newest checkpoint of the recipe's run, the texts are the recipe's. The predictor's folder opens with
`load_error_predictor`. Defaults are for the small recipes; the paper's (OpenWebText in rows of 512) are AdamW at 1e-4,
batches of 512, up to ten passes over the text, and for its headline the head alone: --learning-rate 1e-4
--batch-size 512. One process, not resumed: the head of a frozen trunk takes minutes where the denoiser took days.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

import torch
import tyro
from jaxtyping import Int
from torch import Tensor

from difflm_core.data.cache import ArchiveError
from difflm_core.models import ErrorPredictor, Transformer
from difflm_core.training.checkpoints import checkpoints, load_model, save_model
from difflm_core.training.error_predictor import train_error_predictor
from difflm_core.training.error_report import ErrorReport, evaluate_error_predictor
from difflm_core.training.hybrid_task import Hybrid
from difflm_core.training.recipes import RECIPES, Recipe
from difflm_core.training.stops import TrainingStopped
from difflm_core.training.tasks import Masked


class Trained(Enum):
    """What of the copied denoiser is trained."""

    HEAD = "a new head on a frozen trunk"
    LAST_BLOCK = "the last block and the head"
    WHOLE = "everything"


MAKERS: dict[Trained, Callable[[Transformer], ErrorPredictor]] = {
    Trained.HEAD: ErrorPredictor.head_only,
    Trained.LAST_BLOCK: ErrorPredictor.last_block,
    Trained.WHOLE: ErrorPredictor.whole,
}


@dataclass(frozen=True)
class ErrorRecipe:
    """How an error predictor is trained. Learning rate: a tenth of the steps up, then a cosine down to a tenth."""

    trained: Trained = Trained.HEAD
    steps: int = 500
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self):
        if min(self.steps, self.batch_size) < 1 or not self.learning_rate > 0:
            raise ValueError("steps and batch_size must be at least 1, learning_rate above 0.")


def train_from_run(
    recipe: Recipe, run: Path | str, errors: ErrorRecipe, device=None, progress: bool = True
) -> tuple[ErrorPredictor, ErrorReport]:
    """(predictor, its report on held-out drafts). Raises ValueError for a recipe that is not masked diffusion or whose
    data the run's denoiser does not fit; FileNotFoundError without a checkpoint.
    """
    if not isinstance(recipe.task, Masked | Hybrid):
        raise ValueError("An error predictor is trained on drafts of masked diffusion: name a recipe mdlm-... .")
    denoiser = load_model(run, recipe.data.V, recipe.data.length, device)
    torch.manual_seed(errors.seed)
    predictor = MAKERS[errors.trained](denoiser).to(device)
    batches = recipe.data.train(errors.batch_size, torch.Generator().manual_seed(errors.seed + 1))
    chance = torch.Generator(device or "cpu").manual_seed(errors.seed + 2)
    train_error_predictor(
        predictor, denoiser, batches, errors.steps, errors.learning_rate, generator=chance, progress=progress
    )
    held_out = on_device(recipe.data.evaluation(), device)
    return predictor, evaluate_error_predictor(predictor, denoiser, held_out, chance.manual_seed(7))


def on_device(batches: list[Int[Tensor, "B L"]], device) -> Iterator[Int[Tensor, "B L"]]:
    return (x.to(device) for x in batches)


@dataclass(frozen=True)
class Command:
    """Train the error predictor of G-Star for the denoiser of a recipe's run."""

    recipe: tyro.conf.Positional[str]
    """The recipe whose run and texts are meant."""
    run: Path | None = None
    """The run's folder, or a model's (default: runs/ and the recipe's name)."""
    out: Path | None = None
    """Where the predictor goes (default: the run's folder with -errors behind)."""
    errors: tyro.conf.OmitArgPrefixes[ErrorRecipe] = field(default_factory=ErrorRecipe)
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 stopped by an error (one sentence on it), 2 not understood, 130 interrupted."""
    command = tyro.cli(Command, args=arguments, prog="python -m difflm_core.training.gstar")
    try:
        if command.recipe not in RECIPES:
            raise ValueError(f"There is no recipe {command.recipe!r}: they are {', '.join(RECIPES)}.")
        run = command.run or Path("runs") / command.recipe
        out = command.out or run.with_name(run.name + "-errors")
        if out.exists():
            raise FileExistsError(f"{out} is there already: name another folder with --out.")
        recipe = RECIPES[command.recipe][1]
        predictor, report = train_from_run(recipe, run, command.errors, command.device)
        about = {"recipe": command.recipe, "denoiser": str((checkpoints(run) or [run])[-1])}
        about |= {"errors": {**asdict(command.errors), "trained": command.errors.trained.name}}
        save_model(out, predictor.cpu(), about | {"report": asdict(report)}, recipe.data.tokenizer())
    except KeyboardInterrupt:
        print("Interrupted: nothing was written.", file=sys.stderr)
        return 130
    except (TrainingStopped, ArchiveError, OSError, ValueError) as error:
        print(f"Stopped: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 1
    print(f"predictor    {report.predictor}\nconfidence   {report.confidence}\nstored in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
