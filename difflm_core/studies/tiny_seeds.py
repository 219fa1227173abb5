"""The tiny runs of lesson 08 over seeds: the masked model and its autoregressive twin, bounds, and broken sentences
against network calls.

Trains the recipes mdlm-tiny and ar-tiny as they stand. About 8 minutes on 2 cores.
"""

import time
from dataclasses import replace

import torch

from difflm_core.data import toy_language
from difflm_core.data.toy_language import broken_rules
from difflm_core.evaluation import estimate_nelbo, unigram_entropy
from difflm_core.samplers import ancestral, confidence, first_hitting, left_to_right, sample_masked
from difflm_core.studies import store
from difflm_core.training import RECIPES, train

SEEDS = (0, 1, 2)
STEPS = (1, 2, 3, 4, 6, 8, 12, 24, 48)
SAMPLES = 2000


def bound_of(recipe, model) -> dict:
    language = toy_language()
    fresh = list(language.sample(8192, generator=torch.Generator().manual_seed(4321)).split(512))
    estimate = estimate_nelbo(
        lambda x, t, g: recipe.task.nelbo(model, x, t, g), fresh, 16, torch.Generator().manual_seed(5)
    )
    exact = -sum(language.log_prob(x).sum().item() for x in fresh) / estimate.tokens
    return {
        "bound": estimate.mean,
        "standard_error": estimate.standard_error,
        "exact": exact,
        "entropy": language.entropy() / language.length,
    }


def quality(sample) -> dict:
    """Broken share by the exact grammar, what broke, how varied, at what cost."""
    language = toy_language()
    broken = {rule: hit.double().mean().item() for rule, hit in broken_rules(language, sample.tokens).items()}
    return {
        "broken": 1 - language.grammatical(sample.tokens).double().mean().item(), "broken_rules": broken,
        "entropy": unigram_entropy(sample.tokens), "distinct": len(sample.tokens.unique(dim=0)) / len(sample.tokens),
        "network_calls": sample.network_calls.double().mean().item(),
    }  # fmt: skip


def main() -> None:
    started, runs = time.perf_counter(), []
    shape = (SAMPLES, toy_language().length)
    plans = {f"ancestral {T}": ancestral(T) for T in STEPS} | {
        f"confidence {T}": confidence(T) for T in STEPS if T <= 12
    }
    plans |= {"first-hitting": first_hitting(), "left to right": left_to_right()}
    for seed in SEEDS:
        for name in ("mdlm-tiny", "ar-tiny"):
            recipe = replace(RECIPES[name][1], seed=seed)
            began = time.perf_counter()
            model = store.finished(train(recipe)).model
            run = {
                "recipe": name,
                "seed": seed,
                "train_seconds": round(time.perf_counter() - began),
                **bound_of(recipe, model),
                "samplers": {},
            }
            generator = torch.Generator().manual_seed(seed)
            if model.config.causal:
                run["samplers"]["autoregressive"] = quality(recipe.task.sample(model, shape, generator))
            else:
                run["samplers"] = {
                    plan: quality(sample_masked(model, how, shape, generator=generator)) for plan, how in plans.items()
                }
            runs.append(run)
            print({k: v for k, v in run.items() if k != "samplers"}, flush=True)
    store.save(
        "tiny_seeds", {"samples": SAMPLES, "recipes": ["mdlm-tiny", "ar-tiny"]}, runs, time.perf_counter() - started
    )


if __name__ == "__main__":
    main()
