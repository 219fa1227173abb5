"""Every method of the course on the same Wikipedia sentences: bound, quality of what it writes, variety, copies, cost.

The methods with a recipe NAME-sentences have 1.84 million parameters and 2.1e13 FLOPs of training; one that was not
trained yet is trained first, in runs/NAME-sentences (an interrupted one goes on). The four latent systems are the
course checkpoints NAME-wikipedia: larger, on a frozen MiniLM, and trained for about as long. One training run a method,
so that small differences mean nothing. The bound is in nats per word piece of the sentence, signs of begin and end
counted; what a method pays for the padding behind the end is included. Everything else is as in latents_table.
"""

from collections.abc import Iterator
from functools import partial

import torch

from difflm_core.models import ErrorPredictor
from difflm_core.samplers import Rule, Sample, gstar, remdm_cap, sample_remasking, star_plus, steps_for_calls
from difflm_core.studies import store
from difflm_core.studies.kept_rows import runs
from difflm_core.studies.latents_table import Draw, measured, opened, pieces, read, told
from difflm_core.training import train, train_error_predictor
from difflm_core.training.checkpoints import checkpoints
from difflm_core.training.course import course_checkpoint
from difflm_core.training.loop import evaluate
from difflm_core.training.piece_sentences import until_sign
from difflm_core.training.recipe import Recipe
from difflm_core.training.recipes import RECIPES

SETTINGS = {
    "samples": 300,
    "draws": 4,
    "calls": 128,  # of the samplers that may choose
    "t_on": 0.6,
    "predictor_steps": 300,
    "recipes": [
        "ar-sentences", "mdlm-sentences", "block-sentences", "gidd-sentences", "d3pm-sentences",
        "d3pm-uniform-sentences", "diffusion-lm-sentences",
    ],
    "latents": ["ld4lg-wikipedia", "planner-wikipedia", "tencdm-wikipedia", "cosmos-wikipedia"],
}  # fmt: skip
SEEDS = (0,)
MDLM = "mdlm-sentences"  # whose network the remasking samplers use
NO_BOUND = "texts are drawn from latents: what a text costs would need all latents that decode to it"


def run(seed: int) -> Iterator[dict]:
    yield from measured(writers(seed), SETTINGS["samples"], seed)


def writers(seed: int) -> Iterator[tuple[str, Draw, dict]]:
    """All rows of the table that write, one after the other: a network is loaded or trained when its turn comes."""
    for name in SETTINGS["recipes"]:
        recipe = RECIPES[name][1]
        model, tokenizer = trained(name, recipe)
        end, decode = tokenizer.token_to_id("[SEP]"), partial(until_sign, tokenizer)
        shape, generator = (SETTINGS["samples"], recipe.data.length), torch.Generator().manual_seed(seed)

        def written(sampler, *how, shape=shape, generator=generator, decode=decode, end=end):
            return read(sampler(*how, shape, generator=generator), decode, end)

        known = {"parameters": sum(p.numel() for p in model.parameters())}
        yield name, partial(written, recipe.task.sample, model), known | bound_of(recipe, model, end)
        if name == MDLM:
            for rule_name, rule, more in remasking(model, recipe, seed):
                steps = steps_for_calls(rule, SETTINGS["calls"])
                about = {"parameters": known["parameters"] + more, "bound": None, "no_bound": f"see {MDLM}"}
                yield f"{MDLM} + {rule_name}", partial(written, sample_remasking, model, rule, steps), about
    for name in SETTINGS["latents"]:
        draw, known = opened(name, seed, SETTINGS["samples"])
        yield name, draw, known | {"bound": None, "no_bound": NO_BOUND}


def trained(name: str, recipe: Recipe):
    """(averaged network, tokenizer): the course's checkpoint, or the run in runs/NAME, made or finished here."""
    try:
        return course_checkpoint(name)
    except FileNotFoundError:
        folder = runs() / name
        run = store.finished(train(recipe, folder, resume=bool(checkpoints(folder))))
        return run.model.eval(), recipe.data.tokenizer()


def bound_of(recipe: Recipe, model, end: int) -> dict:
    """Nats per piece of the held-out sentences, padding's cost on top."""
    estimate, batches = evaluate(recipe, model, SETTINGS["draws"]), recipe.data.evaluation()
    places = sum(x.numel() for x in batches)
    real = sum(pieces(Sample(x, torch.ones(len(x))), end) for x in batches)
    return {"bound": estimate.mean * places / real, "standard_error": estimate.standard_error * places / real}


def remasking(model, recipe: Recipe, seed: int) -> Iterator[tuple[str, Rule, int]]:
    """(name, rule, parameters that it adds): three samplers for the network of MDLM."""
    yield "remdm", remdm_cap(0.04), 0
    yield "star", star_plus(SETTINGS["t_on"]), 0
    torch.manual_seed(seed)
    predictor = ErrorPredictor.last_block(model)
    batches = recipe.data.train(recipe.batch_size, torch.Generator().manual_seed(100 + seed))
    generator = torch.Generator().manual_seed(200 + seed)
    train_error_predictor(predictor, model, batches, SETTINGS["predictor_steps"], generator=generator)
    more = sum(p.numel() for p in predictor.parameters() if p.requires_grad)
    yield "gstar", gstar(predictor, SETTINGS["t_on"]), more


def main() -> None:
    store.over_seeds("text_scoreboard", SETTINGS, SEEDS, run, told)


if __name__ == "__main__":
    main()
