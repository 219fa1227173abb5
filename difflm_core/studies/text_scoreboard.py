"""Every method of the course on the same Wikipedia sentences: bound, quality of what it writes, variety, copies, cost.

The methods with a recipe NAME-sentences have 1.84 million parameters and 2.1e13 FLOPs of training; one that was not
trained yet is trained first, in runs/NAME-sentences (an interrupted one goes on). The four latent systems are the
course checkpoints NAME-wikipedia: larger, on a frozen MiniLM, and trained for about as long. One training run a method,
so that small differences mean nothing. The bound is in nats per word piece of the sentence, signs of begin and end
counted; what a method pays for the padding behind the end is included. Everything else is as in latents_table.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from difflm_core.evaluation import distinct_in_texts, judge_features, text_report
from difflm_core.models import ErrorPredictor, load_judge
from difflm_core.samplers import Sample, gstar, remdm_cap, sample_remasking, star_plus, steps_for_calls
from difflm_core.studies import store
from difflm_core.studies.latents_table import pieces, plain_row, texts_of
from difflm_core.training import train, train_error_predictor
from difflm_core.training.checkpoints import checkpoints
from difflm_core.training.course import course_checkpoint
from difflm_core.training.latent_checkpoints import course_latents
from difflm_core.training.latent_sources import WikipediaStates
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


class Writer(NamedTuple):
    """`draw(count, generator)` writes; `decode` is the text of a row; `end` the id that ends one."""

    draw: Callable[[int, torch.Generator], Sample]
    decode: Callable[[Tensor], str]
    end: int
    known: dict


def run(seed: int) -> Iterator[dict]:
    human, training = texts_of(WikipediaStates())
    count, generator = SETTINGS["samples"], torch.Generator().manual_seed(seed)
    made, about = {}, {}
    for name, writer in writers(seed):
        began = time.perf_counter()
        sample = writer.draw(count, generator)
        seconds = time.perf_counter() - began
        made[name] = [writer.decode(row) for row in sample.tokens]
        tokens = max(1, pieces(sample, writer.end))
        about[name] = writer.known | {
            "network_calls": sample.network_calls.double().mean().item(),
            "seconds_per_1000_tokens": 1000 * seconds / tokens,
            "examples": made[name][:4],
        }
        print(f"{name}: {seconds:.0f} s for {count} texts, such as: {made[name][0]}", flush=True)
    judge = load_judge()
    report = text_report(
        made, human, training, judge, lambda texts: judge_features(judge, texts), count, generator, progress=True
    )
    for row in report.rows:
        distinct = distinct_in_texts(made[row.name], 2, count) if row.name in made else None
        yield plain_row(row) | {"distinct_2": distinct, "judge": report.judge} | about.get(row.name, {})


def writers(seed: int) -> Iterator[tuple[str, Writer]]:
    """All rows of the table that write, one after the other: a network is loaded or trained when its turn comes."""
    for name in SETTINGS["recipes"]:
        recipe = RECIPES[name][1]
        model, tokenizer = trained(name, recipe)
        end, decode = tokenizer.token_to_id("[SEP]"), partial(until_sign, tokenizer)
        known = {"parameters": sum(p.numel() for p in model.parameters())}

        def draw(count: int, generator: torch.Generator, model=model, recipe=recipe) -> Sample:
            return recipe.task.sample(model, (count, recipe.data.length), generator)

        yield name, Writer(draw, decode, end, known | bound_of(recipe, model, end))
        if name == MDLM:
            for rule_name, rule, more in remasking(model, recipe, seed):
                known = {"parameters": known["parameters"] + more, "bound": None, "no_bound": f"see {MDLM}"}
                draw = partial(by_rule, rule, model, recipe.data.length)
                yield f"{MDLM} + {rule_name}", Writer(draw, decode, end, known)
    for name in SETTINGS["latents"]:
        system = course_latents(name)

        def draw_latents(count: int, generator: torch.Generator, system=system) -> Sample:
            return system.sample(count, generator, label=system.classes(count, generator))

        known = {"parameters": sum(p.numel() for p in system.parts.parameters()), "bound": None, "no_bound": NO_BOUND}
        yield name, Writer(draw_latents, system.decode, system.canvas.end, known)


def trained(name: str, recipe: Recipe):
    """(averaged network, tokenizer): the course's checkpoint, or the run in runs/NAME, made or finished here."""
    try:
        return course_checkpoint(name)
    except FileNotFoundError:
        folder = runs() / name
        run = store.finished(train(recipe, folder, resume=bool(checkpoints(folder))))
        return run.model.eval(), recipe.data.tokenizer()


def runs() -> Path:
    return store.RESULTS.parents[1] / "runs"


def bound_of(recipe: Recipe, model, end: int) -> dict:
    """Nats per piece of the held-out sentences, padding's cost on top."""
    estimate, batches = evaluate(recipe, model, SETTINGS["draws"]), recipe.data.evaluation()
    places = sum(x.numel() for x in batches)
    real = sum(pieces(Sample(x, torch.ones(len(x))), end) for x in batches)
    return {"bound": estimate.mean * places / real, "standard_error": estimate.standard_error * places / real}


def remasking(model, recipe: Recipe, seed: int) -> Iterator[tuple[str, object, int]]:
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


def by_rule(rule, model, length: int, count: int, generator: torch.Generator) -> Sample:
    return sample_remasking(model, rule, steps_for_calls(rule, SETTINGS["calls"]), (count, length), generator=generator)


def main() -> None:
    store.over_seeds("text_scoreboard", SETTINGS, SEEDS, run, told)


def told(row: dict) -> str:
    bound = f", bound {row['bound']:.3f} ± {row['standard_error']:.3f}" if row.get("bound") else ""
    cost = f", {row['network_calls']:.0f} calls" if "network_calls" in row else ""
    return (
        f"{row['system']:24} judge ppl {row['perplexity']:.0f} (entropy {row['entropy']:.2f}), diversity "
        f"{row['diversity']:.3f}, MAUVE {row['mauve']:.3f}, memorised {row['memorised']:.3f}{bound}{cost}"
    )


if __name__ == "__main__":
    main()
