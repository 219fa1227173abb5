"""Does an edit stage teach self-correction? Masked diffusion with and without one, at equal steps, over seeds.

A network learns sentences of different lengths (toy language with END and PAD) on masks alone; then its training goes
on for a quarter as long in four ways: on masks as before, or with half of each batch under writing errors: words
replaced; words replaced, put in or left out; or uniform noise of every strength with the same loss. Each then revises
texts of three kinds: its own drafts of few calls, true sentences with two words replaced, and true sentences with one
word too many or too few. Reported: the share of grammatical texts before and after, how many still are the true
sentence, and the bound, which is what the other training costs. About 12 minutes on one core.
"""

import copy
from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from difflm_core.data.variable_length import LENGTH, PAD, variable_length_language
from difflm_core.evaluation import estimate_nelbo, unigram_entropy
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives import masked_nelbo, masked_nelbo_by_count, stratified_times
from difflm_core.objectives.edits import edit_nll
from difflm_core.processes import masked, uniform
from difflm_core.processes.edits import DELETE, INSERT, edit_budget, edited, substituted
from difflm_core.samplers import ancestral, sample_masked, self_correct
from difflm_core.studies import store
from difflm_core.training.descend import descend

SETTINGS = {"steps": 1200, "more": 300, "batch_size": 128, "learning_rate": 3e-3, "width": 96, "layers": 2}
SETTINGS |= {"most": 0.25, "samples": 500, "calls": 4, "iterations": 24, "held_out": 512}
SEEDS = (0, 1, 2)
STAGES = ("masks", "substitutions", "all edits", "uniform noise")


def spoiled(stage: str, x: Int[Tensor, "B L"], generator: torch.Generator) -> Int[Tensor, "B L"]:
    """Texts as the second stage shows them."""
    V, t = variable_length_language().V, stratified_times(len(x), generator)
    if stage == "uniform noise":
        return uniform(V).corrupt(x, t, generator)
    budget = edit_budget(t, LENGTH, SETTINGS["most"]).clamp_min(1)
    return substituted(x, budget, V, generator) if stage == "substitutions" else edited(x, budget, V, pad(), generator)


def pad() -> int:
    return int(variable_length_language().encode(PAD))


def learn(model: Transformer, stage: str, steps: int, seed: int) -> None:
    language, g = variable_length_language(), torch.Generator().manual_seed(seed)
    process = masked(language.V)

    def batches() -> Iterator[Int[Tensor, "B L"]]:
        while True:
            yield language.sample(SETTINGS["batch_size"], generator=g)

    def loss(x):
        whole = stage == "masks"
        half = len(x) if whole else len(x) // 2
        writing = masked_nelbo(process, model, x[:half], stratified_times(half, g), g).mean()
        return writing if whole else (writing + edit_nll(model, x[half:], spoiled(stage, x[half:], g)).mean()) / 2

    descend(model, loss, batches(), steps, SETTINGS["learning_rate"], stage, False, 0.99)


def texts(model: Transformer, seed: int) -> dict[str, tuple[Int[Tensor, "B L"], Int[Tensor, "B L"] | None]]:
    """(what is to be revised, the truth or None) of each kind; drafts are the model's own."""
    language, g, n = variable_length_language(), torch.Generator().manual_seed(seed), SETTINGS["samples"]
    true, two, one = language.sample(n, generator=g), torch.full((n,), 2), torch.full((n,), 1)
    drafts = sample_masked(model, ancestral(SETTINGS["calls"]), (n, LENGTH), generator=g).tokens
    return {
        "drafts": (drafts, None),
        "two replaced": (substituted(true, two, language.V, g), true),
        "one too many or few": (edited(true, one, language.V, pad(), g, (INSERT, DELETE)), true),
    }


def revised(model: Transformer, seed: int) -> Iterator[dict]:
    language = variable_length_language()
    good = lambda x: language.grammatical(x).double().mean().item()  # noqa: E731
    for kind, (before, true) in texts(model, seed).items():
        g = torch.Generator().manual_seed(seed)
        out = self_correct(model, before, SETTINGS["iterations"], generator=g)
        row = {"texts": kind, "before": good(before), "after": good(out.tokens)}
        row |= {"changes": out.changes.double().mean().item(), "entropy": unigram_entropy(out.tokens)}
        row |= {"distinct": len(out.tokens.unique(dim=0)) / len(out.tokens)}
        if true is not None:
            row["restored"] = (out.tokens == true).all(1).double().mean().item()
        yield row


def bound(model: Transformer) -> float:
    """Nats per text over its entropy, on fresh texts."""
    language = variable_length_language()
    fresh = list(language.sample(SETTINGS["held_out"], generator=torch.Generator().manual_seed(4321)).split(128))
    nelbo = lambda x, t, g: masked_nelbo_by_count(masked(language.V), model, x, t, g)  # noqa: E731
    estimate = estimate_nelbo(nelbo, fresh, 8, torch.Generator().manual_seed(5))
    exact = -sum(language.log_prob(x).sum().item() for x in fresh) / SETTINGS["held_out"]
    return estimate.mean * LENGTH - exact


def run(seed: int) -> Iterator[dict]:
    torch.manual_seed(seed)
    shape = (SETTINGS["width"], SETTINGS["layers"], 4)
    first = Transformer(TransformerConfig(variable_length_language().V, LENGTH, *shape))
    learn(first, "masks", SETTINGS["steps"], seed)
    for stage in STAGES:
        model = copy.deepcopy(first)
        learn(model, stage, SETTINGS["more"], seed + 100)
        above = bound(model)
        for row in revised(model, seed):
            yield {"stage": stage, "bound_above_entropy": above, **row}


def told(row: dict) -> str:
    kept = f", restored {row['restored']:.3f}" if "restored" in row else ""
    return (
        f"{row['stage']}, {row['texts']}: grammatical {row['before']:.3f} -> {row['after']:.3f}{kept}, "
        f"{row['changes']:.1f} changes, bound {row['bound_above_entropy']:.2f} above the entropy"
    )


def main() -> None:
    store.over_seeds("edit_stage", SETTINGS, SEEDS, run, told)


if __name__ == "__main__":
    main()
