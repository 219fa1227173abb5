"""Course checkpoints: small trained models that lessons open, each with a card that says how to make it again.

python -m difflm_core.training.course mdlm-shakespeare     train the recipe and store it in lessons/checkpoints
"""

import argparse
import hashlib
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer

from difflm_core.data.cache import ArchiveError
from difflm_core.models import Transformer
from difflm_core.studies.store import made_on
from difflm_core.training.checkpoints import checkpoints, load_model, load_tokenizer, read_about, save_model
from difflm_core.training.loop import evaluate, train
from difflm_core.training.recipes import RECIPES, Recipe
from difflm_core.training.stops import TrainingStopped

CHECKPOINTS = Path(__file__).resolve().parents[2] / "lessons" / "checkpoints"


def course_checkpoint(name: str) -> tuple[Transformer, Tokenizer]:
    """A model of lessons/checkpoints and its tokenizer. Errors name the command that makes it."""
    folder = CHECKPOINTS / name
    if not folder.is_dir():
        if name not in RECIPES:
            raise ValueError(f"There is no course checkpoint {name!r}: the recipes are {', '.join(RECIPES)}.")
        raise FileNotFoundError(
            f"lessons/checkpoints/{name} is missing; make it with: python -m difflm_core.training.course {name}"
        )
    return load_model(folder), load_tokenizer(folder)


def publish(name: str, recipe: Recipe, run: Path) -> Path:
    """Store the newest checkpoint of a finished run in half precision, with its card; what the card says holds for the
    rounded weights.
    """
    model, tokenizer, about = load_model(run), load_tokenizer(run), read_about(checkpoints(run)[-1])
    model.load_state_dict({key: value.half().float() for key, value in model.state_dict().items()})
    estimate = evaluate(recipe, model, draws=16)
    evaluation = torch.cat(recipe.data.evaluation())
    about = {"recipe": about["recipe"], "history": about["history"], "made_on": made_on(), "bound": estimate.mean}
    about |= {"evaluation_data_sha256": hashlib.sha256(evaluation.numpy().tobytes()).hexdigest()}
    sample = recipe.task.sample(model, (4, model.length), torch.Generator().manual_seed(0))
    texts = [recipe.data.decode(row) for row in sample.tokens]
    folder = save_model(CHECKPOINTS / name, model.half(), about, tokenizer)
    (folder / "README.md").write_text(card(name, recipe, about, estimate, texts, model), encoding="utf-8")
    return folder


def card(name: str, recipe: Recipe, about: dict, estimate, texts: list[str], model: Transformer) -> str:
    quantity = "nll" if recipe.task.exact else "bound"
    curve = "\n".join(
        f"| {r['step']} | {r['loss']:.4f} | {r['bound']:.4f} ± {r['standard_error']:.4f} |" for r in about["history"]
    )
    samples = "\n\n".join(f"```\n{text}\n```" for text in texts)
    weights = hashlib.sha256((CHECKPOINTS / name / "model.safetensors").read_bytes()).hexdigest()
    made = about["made_on"]
    return f"""# {name}

{RECIPES[name][0]}

| | |
|---|---|
| made by | `python -m difflm_core.training.course {name}` (seed {recipe.seed}) |
| code | {made["code"]}, torch {made["torch"]}, {made["threads"]} threads, {made["date"]} |
| parameters | {model.parameters_count():,}, stored in half precision |
| data | {recipe.data} |
| sha256 of the held-out token ids | `{about["evaluation_data_sha256"]}` |
| sha256 of model.safetensors | `{weights}` |
| {quantity} on held-out text | {estimate} |
| licence | MIT (weights); for the training text see README.md |

| step | training loss | {quantity} on held-out text, nats per token |
|---|---|---|
{curve}

Four samples, not chosen (seed 0):

{samples}
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m difflm_core.training.course", description=__doc__)
    from difflm_core.training.latent_recipes import LATENT_RECIPES  # which reads a course checkpoint itself

    parser.add_argument("name", choices=[*RECIPES, *LATENT_RECIPES], help="the recipe to train and store")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="where the run is kept, and resumed if it was cut off"
    )
    options = parser.parse_args(arguments)
    try:
        if options.name in LATENT_RECIPES:
            from difflm_core.training.latent_course import make_latents

            print(f"stored in {make_latents(options.name, options.runs).relative_to(CHECKPOINTS.parents[1])}")
            return 0
        recipe, folder = RECIPES[options.name][1], options.runs / f"course-{options.name}"
        run = train(recipe, folder, resume=bool(checkpoints(folder)))
        if not run.finished:
            return 130
        print(f"stored in {publish(options.name, recipe, folder).relative_to(CHECKPOINTS.parents[1])}")
    except (TrainingStopped, ArchiveError, OSError, ValueError) as error:
        print(f"Stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
