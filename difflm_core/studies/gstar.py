"""G-Star on the toy language: which error predictor finds mistakes, which one repairs them, and quality against calls.

One denoiser, the course checkpoint mdlm-tiny; the seeds are those of the predictors' training and of the samples. Every
sampler is given a budget of network calls that includes the predictor's. About 10 minutes on one core.
"""

import time
from dataclasses import asdict

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from difflm_core.data import toy_language
from difflm_core.data.batches import language_batches
from difflm_core.models import ErrorPredictor, Transformer
from difflm_core.samplers import (
    Rule,
    Sample,
    ancestral,
    confidence,
    confidence_remask,
    first_hitting,
    gstar,
    gumbel_top_k,
    random_remask,
    remdm,
    sample_masked,
    sample_remasking,
    star_plus,
    steps_for_calls,
)
from difflm_core.studies import store
from difflm_core.studies.toy_quality import quality
from difflm_core.training.course import course_checkpoint
from difflm_core.training.error_predictor import train_error_predictor
from difflm_core.training.error_report import doubt, evaluate_error_predictor, rescored_probability

SETTINGS = {
    "denoiser": "mdlm-tiny",
    "predictor_steps": 400,
    "batch_size": 128,
    "held_out": 2048,
    "samples": 1000,
    "budgets": [8, 16, 32],
    "t_on": [0.3, 0.6, 0.9],
    "draft_steps": 6,
    "taken_back": 4,
}
SEEDS = (0, 1, 2)
WAYS = {
    "head only": ErrorPredictor.head_only,
    "last block": ErrorPredictor.last_block,
    "whole": ErrorPredictor.whole,
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(way: str, denoiser: Transformer, seed: int) -> tuple[ErrorPredictor, dict]:
    """A predictor, and how well it finds wrong words in one-step drafts beside the denoiser's own doubts."""
    language, began = toy_language(), time.perf_counter()
    predictor = WAYS[way](denoiser)
    data = language_batches(language, SETTINGS["batch_size"], seeded(100 + seed))
    losses = train_error_predictor(
        predictor, denoiser, data, SETTINGS["predictor_steps"], generator=seeded(200 + seed), progress=False
    )
    seconds = round(time.perf_counter() - began)
    held_out = language.sample(SETTINGS["held_out"], generator=seeded(4321)).split(512)
    report = evaluate_error_predictor(predictor, denoiser, held_out, seeded(300 + seed), rescore=True)
    weights = sum(p.numel() for p in predictor.parameters() if p.requires_grad)
    last = losses[-20:]
    row = {"weights": weights, "train_seconds": seconds, "loss": sum(last) / len(last), "detection": asdict(report)}
    return predictor, row


def by_repair(predictors: dict[str, ErrorPredictor], denoiser: Transformer, seed: int) -> dict[str, dict]:
    """Drafts of a few steps; the words with the largest scores are taken back and written again, one by one."""
    shape, V = (SETTINGS["samples"], toy_language().length), denoiser.V
    plan = ancestral(SETTINGS["draft_steps"])
    draft = sample_masked(denoiser, plan, shape, generator=seeded(400 + seed), record=True)
    scores = {"random": torch.zeros(shape), "confidence": doubt(when_written(draft))}
    with torch.no_grad():
        scores |= {way: predictor.error_logits(draft.tokens) for way, predictor in predictors.items()}
    scores["asked again"] = doubt(rescored_probability(denoiser, draft.tokens))  # L calls
    results = {"before": quality(draft.tokens)}
    for name, score in scores.items():
        where = taken(score, seed)
        prompt = draft.tokens.masked_fill(where, V)
        again = sample_masked(denoiser, first_hitting(), shape, prompt, seeded(600 + seed))
        results[name] = quality(again.tokens)
    return results


def when_written(sample: Sample) -> Float[Tensor, "B L"]:
    """The probability with which each token was written."""
    p = torch.zeros(sample.tokens.shape, dtype=torch.float64)
    for frame in sample.trajectory:
        p = torch.where(frame.written, frame.probability.double(), p)
    return p


def taken(score: Float[Tensor, "B L"], seed: int) -> Bool[Tensor, "B L"]:
    """The largest scores of each row, ties at random."""
    count, anywhere = torch.full((len(score),), SETTINGS["taken_back"]), torch.ones_like(score, dtype=torch.bool)
    return gumbel_top_k(score, count, 0.0, anywhere, seeded(500 + seed))


def rules(predictors: dict[str, ErrorPredictor]) -> dict[str, Rule]:
    named = {"mdlm": remdm(0.0)}
    for t_on in SETTINGS["t_on"]:
        named[f"star+ {t_on}"] = star_plus(t_on)
        named[f"random {t_on}"] = random_remask(t_on)
        for temperature in (0.0, 1.0):
            named[f"confidence {t_on} tau {temperature:g}"] = confidence_remask(t_on, temperature)
        for way, predictor in predictors.items():
            named[f"gstar {way} {t_on} tau 1"] = gstar(predictor, t_on)
        named[f"gstar whole {t_on} tau 0"] = gstar(predictors["whole"], t_on, temperature=0.0)
    return named


def samplers(predictors: dict[str, ErrorPredictor], denoiser: Transformer, seed: int):
    """One dict per sampler and budget; `network_calls` is what a sentence really cost, on average."""
    shape = (SETTINGS["samples"], toy_language().length)

    def row(name: str, sample: Sample, **about) -> dict:
        calls = sample.network_calls.double().mean().item()
        return {"sampler": name, **about, **quality(sample.tokens), "network_calls": calls}

    yield row("first-hitting", sample_masked(denoiser, first_hitting(), shape, generator=seeded(700 + seed)))
    for budget in SETTINGS["budgets"]:
        if budget <= shape[1]:
            sample = sample_masked(denoiser, confidence(budget), shape, generator=seeded(700 + seed))
            yield row("most confident first", sample, budget=budget)
        for name, rule in rules(predictors).items():
            T = steps_for_calls(rule, budget)
            sample = sample_remasking(denoiser, rule, T, shape, generator=seeded(700 + seed))
            yield row(name, sample, budget=budget, steps=T)


def run(seed: int):
    denoiser, _ = course_checkpoint(SETTINGS["denoiser"])
    denoiser.eval()
    predictors = {}
    for way in WAYS:
        predictors[way], row = trained(way, denoiser, seed)
        yield {"what": "predictor", "way": way, **row}
    for score, found in by_repair(predictors, denoiser, seed).items():
        yield {"what": "repair", "score": score, **found}
    for row in samplers(predictors, denoiser, seed):
        yield {"what": "sampler", **row}


def main() -> None:
    store.over_seeds("gstar", SETTINGS, SEEDS, run, told)


def told(row: dict) -> str:
    if row["what"] == "predictor":
        found = row["detection"]
        return (
            f"predictor {row['way']:10} AUROC {found['predictor']['auroc']:.3f}, "
            f"of the doubts at writing time {found['confidence']['auroc']:.3f}"
        )
    gap = "none" if row["log_prob_gap"] is None else f"{row['log_prob_gap']:+.2f}"
    calls = f", {row['network_calls']:.1f} calls" if "network_calls" in row else ""
    name = row.get("sampler") or f"repaired by {row['score']}"
    return f"{name:26} {row.get('budget', ''):>3} grammatical {row['grammatical']:.3f}, gap {gap}{calls}"


if __name__ == "__main__":
    main()
