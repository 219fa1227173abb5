"""Four latent systems and masked diffusion on the same Wikipedia sentences: what each text costs, and how good it is.

The systems are the course checkpoints NAME-wikipedia and mdlm-sentences: same texts, same 4,096 word pieces, same
canvas, about a quarter of an hour of training each on one core, which is far from what the papers spend. One row a
system, and two that are known: human texts against human texts, and their words shuffled. All texts, the human ones
too, are read through the same tokenizer, which forgets capitals. Figures of generation hold for `samples` texts a row.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial

import torch
from torch import Tensor

from difflm_core.evaluation import TrainingTexts, distinct_in_texts, judge_features, text_report
from difflm_core.evaluation.text_report import Row
from difflm_core.models import load_judge
from difflm_core.processes import Linear
from difflm_core.samplers import Sample, first_hitting, sample_masked
from difflm_core.studies import store
from difflm_core.training.course import course_checkpoint
from difflm_core.training.latent_checkpoints import course_latents
from difflm_core.training.latent_sources import WikipediaStates, prepared
from difflm_core.training.latent_system import reconstruction
from difflm_core.training.piece_sentences import until_sign

SETTINGS = {
    "systems": ["ld4lg-wikipedia", "planner-wikipedia", "tencdm-wikipedia", "cosmos-wikipedia"],
    "mdlm": "mdlm-sentences",
    "samples": 300,
}
SEEDS = (0,)  # a row takes minutes of the judge


def run(seed: int) -> Iterator[dict]:
    count = SETTINGS["samples"]
    names = (*SETTINGS["systems"], SETTINGS["mdlm"])
    yield from measured(((name, *opened(name, seed, count)) for name in names), count, seed)


Draw = Callable[[], tuple[Sample, list[str], int]]  # samples, their texts, and the tokens of these


def measured(writers: Iterable[tuple[str, Draw, dict]], count: int, seed: int) -> Iterator[dict]:
    """Rows for human texts, for these shuffled, and for each writer (name, how it draws `count` texts, what is known of
    it besides), which may be opened or trained when its turn comes.
    """
    human, training = texts_of(WikipediaStates())
    made, about = {}, {}
    for name, draw, known in writers:
        began = time.perf_counter()
        sample, made[name], tokens = draw()
        seconds = time.perf_counter() - began
        about[name] = known | {
            "network_calls": sample.network_calls.double().mean().item(),
            "seconds_per_1000_tokens": 1000 * seconds / max(1, tokens),
            "examples": made[name][:4],
        }
    judge, generator = load_judge(), torch.Generator().manual_seed(seed)
    report = text_report(
        made, human, training, judge, lambda texts: judge_features(judge, texts), count, generator, progress=True
    )
    for row in report.rows:
        distinct = distinct_in_texts(made[row.name], 2, count) if row.name in made else None
        yield plain_row(row) | {"distinct_2": distinct, "judge": report.judge} | about.get(row.name, {})


def texts_of(source: WikipediaStates) -> tuple[list[str], TrainingTexts]:
    """(held-out texts, what was trained on), both as the tokenizer gives them back."""
    ready = prepared(source)
    human = [source.decode(row) for row in ready.held_out[:][2]]
    seen = (source.decode(torch.tensor(row)) for row in ready.train.ids.tolist())
    return human, TrainingTexts(seen, progress=True)


def opened(name: str, seed: int, count: int, steps: int | None = None) -> tuple[Draw, dict]:
    """How a checkpoint makes its texts, and what is known of it besides. Latents are drawn in as many steps as the
    recipe says, and read back; with `steps` of one's own they are only drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    if name == SETTINGS["mdlm"]:
        model, tokenizer = course_checkpoint(name)

        def draw():
            sample = sample_masked(model, first_hitting(Linear()), (count, model.length), generator=generator)
            return read(sample, partial(until_sign, tokenizer), tokenizer.token_to_id("[SEP]"))

        return draw, {"parameters": model.parameters_count()}
    system = course_latents(name)

    def draw_latents():
        sample = system.sample(count, generator, steps, label=system.classes(count, generator))
        return read(sample, system.decode, system.canvas.end)

    known = {"parameters": sum(p.numel() for p in system.parts.parameters())}
    if steps:
        return draw_latents, known | {"steps": steps}
    batch, _ = system.recipe.data.evaluation()
    return draw_latents, known | {"steps": system.recipe.sample_steps} | reconstruction(system, batch)


def read(sample: Sample, decode: Callable[[Tensor], str], end: int) -> tuple[Sample, list[str], int]:
    """What a `Draw` returns."""
    return sample, [decode(row) for row in sample.tokens], pieces(sample, end)


def pieces(sample: Sample, end: int) -> int:
    """Tokens up to and with the end of each text."""
    over = (sample.tokens == end).long().cumsum(1)
    return int(((over == 0) | ((over == 1) & (sample.tokens == end))).sum())


def plain_row(row: Row) -> dict:
    return {
        "system": row.name,
        **{key: value for key, value in asdict(row).items() if key not in ("name", "words")},
    } | {"words": row.length}


def main() -> None:
    store.over_seeds("latents_table", SETTINGS, SEEDS, run, told)


def told(row: dict) -> str:
    back = f", BLEU of reconstruction {row['bleu']:.3f}" if "bleu" in row else ""
    bound = f", bound {row['bound']:.3f} ± {row['standard_error']:.3f}" if row.get("bound") else ""
    cost = f", {row['network_calls']:.0f} calls" if "network_calls" in row else ""
    return (
        f"{row['system']:24} judge ppl {row['perplexity']:.0f} (entropy {row['entropy']:.2f}), diversity "
        f"{row['diversity']:.3f}, MAUVE {row['mauve']:.3f}, memorised {row['memorised']:.3f}{back}{bound}{cost}"
    )


if __name__ == "__main__":
    main()
