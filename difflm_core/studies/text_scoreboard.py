"""Every method of the course on the same Wikipedia sentences: bound, quality of what it writes, variety, copies, cost.

The methods with a recipe NAME-sentences have 1.84 million parameters and 2.1e13 FLOPs of training; one that was not
trained yet is trained first, in runs/NAME-sentences, with other seeds in runs/NAME-sentences-1 and so on (an
interrupted one goes on; seed 0 of MDLM is the course's checkpoint). The four latent systems are the course checkpoints
NAME-wikipedia: larger, on a frozen MiniLM, and trained for about as long, once: their seeds only draw other texts. A
method that can be asked fewer times than by its recipe has rows for that too, on the first seed, with "calls" in them.
The bound is in nats per word piece of the sentence, signs of begin and end counted; what a method pays for the padding
behind the end is included. Everything else is as in latents_table.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch

from difflm_core.models import ErrorPredictor
from difflm_core.samplers import (
    Rule,
    Sample,
    ancestral,
    at_random,
    gstar,
    remdm_cap,
    sample_blocks,
    sample_discrete,
    sample_masked,
    sample_remasking,
    star_plus,
    steps_for_calls,
)
from difflm_core.studies import store
from difflm_core.studies.kept_rows import runs
from difflm_core.studies.latents_table import Draw, measured, opened, pieces, read, told
from difflm_core.training import train, train_error_predictor
from difflm_core.training.block_task import Block
from difflm_core.training.checkpoints import checkpoints
from difflm_core.training.course import course_checkpoint
from difflm_core.training.d3pm_task import D3PM
from difflm_core.training.diffusion_lm_task import EmbeddingDiffusion
from difflm_core.training.hybrid_task import Hybrid
from difflm_core.training.loop import evaluate
from difflm_core.training.piece_sentences import until_sign
from difflm_core.training.recipe import Recipe
from difflm_core.training.recipes import RECIPES
from difflm_core.training.tasks import Masked

SETTINGS = {
    "samples": 300,
    "draws": 4,
    "calls": 128,  # of the samplers that may choose
    "fewer": (4, 16),  # and these on the first seed, for all that can: blocks take at least one a block
    "t_on": 0.6,
    "predictor_steps": 300,
    "recipes": [
        "ar-sentences", "mdlm-sentences", "block-sentences", "gidd-sentences", "d3pm-sentences",
        "d3pm-uniform-sentences", "diffusion-lm-sentences",
    ],
    "latents": ["ld4lg-wikipedia", "planner-wikipedia", "tencdm-wikipedia", "cosmos-wikipedia"],
}  # fmt: skip
SEEDS = (0, 1)
MDLM = "mdlm-sentences"  # whose network the remasking samplers use
NO_BOUND = "texts are drawn from latents: what a text costs would need all latents that decode to it"
Sampler = Callable[..., Sample]  # of a network, a shape and a generator


def run(seed: int) -> Iterator[dict]:
    for row in measured(writers(seed), SETTINGS["samples"], seed):
        system, _, calls = row["system"].partition(" @")
        yield row | {"system": system} | ({"calls": int(calls)} if calls else {})


def writers(seed: int) -> Iterator[tuple[str, Draw, dict]]:
    """All rows of the table that write, one after the other: a network is loaded or trained when its turn comes. Rows
    of fewer calls have their number behind an @ in the name.
    """
    fewer = SETTINGS["fewer"] if seed == SEEDS[0] else ()
    for name in SETTINGS["recipes"]:
        recipe = RECIPES[name][1]
        model, tokenizer = trained(name, recipe, seed)
        end, decode = tokenizer.token_to_id("[SEP]"), partial(until_sign, tokenizer)
        shape, generator = (SETTINGS["samples"], recipe.data.length), torch.Generator().manual_seed(seed)

        def written(sampler, model, *how, shape=shape, generator=generator, decode=decode, end=end):
            return read(sampler(model, *how, shape, generator=generator), decode, end)

        known = {"parameters": sum(p.numel() for p in model.parameters())}
        bound = bound_of(recipe, model, end)
        yield name, partial(written, recipe.task.sample, model), known | bound
        for calls in fewer:
            if sampler := asked_less(recipe.task, calls):
                yield f"{name} @{calls}", partial(written, sampler, model), known | bound
        if name == MDLM:
            for rule_name, rule, more in remasking(model, recipe, seed):
                about = {"parameters": known["parameters"] + more, "bound": None, "no_bound": f"see {MDLM}"}
                for calls in (SETTINGS["calls"], *fewer):
                    draw = partial(written, sample_remasking, model, rule, steps_for_calls(rule, calls))
                    yield f"{MDLM} + {rule_name}" + (f" @{calls}" if calls in fewer else ""), draw, about
    for name in SETTINGS["latents"]:
        for calls in (None, *fewer[:1]):  # the next one is about what they take by their recipes
            draw, known = opened(name, seed, SETTINGS["samples"], calls)
            about = known | {"bound": None, "no_bound": NO_BOUND}
            yield name + (f" @{calls}" if calls else ""), draw, about


def asked_less(task, calls: int) -> Sampler | None:
    """The task's sampler with about this many calls, None for one word a call."""
    match task:
        case Masked():
            return lambda model, shape, generator: sample_masked(
                model, ancestral(calls, task.schedule), shape, generator=generator
            )
        case Hybrid():
            return lambda model, shape, generator: sample_discrete(
                task.process(model.V), model, calls, shape, generator=generator
            )
        case D3PM() | EmbeddingDiffusion():
            return replace(task, steps=calls).sample
        case Block():
            return lambda model, shape, generator: sample_blocks(
                model, at_random(min(task.block_size, -(-shape[1] // calls)), generator), shape, generator=generator
            )
    return None


def trained(name: str, recipe: Recipe, seed: int = 0):
    """(averaged network, tokenizer): the course's checkpoint, or the run in runs/NAME, made or finished here."""
    if seed == 0:
        try:
            return course_checkpoint(name)
        except FileNotFoundError:
            pass
    folder = runs() / (f"{name}-{seed}" if seed else name)
    run = store.finished(train(replace(recipe, seed=recipe.seed + seed), folder, resume=bool(checkpoints(folder))))
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
