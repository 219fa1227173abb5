"""GIDD on the toy language: how many random tokens help, what correcting a draft buys, which weights to train with.

Every network has the same size, batches and steps and is scored by the unweighted bound. Beside the trained ones stands
the perfect denoiser of each noise, so that one sees what is the network's fault. About 12 minutes on 2 cores.
"""

import time
from dataclasses import asdict

import torch

from difflm_core.data import toy_language
from difflm_core.evaluation import estimate_nelbo
from difflm_core.models import LeaveOneOut, WithOwnEvidence
from difflm_core.processes import hybrid
from difflm_core.samplers import sample_discrete, self_correct
from difflm_core.studies import store
from difflm_core.studies.toy_quality import of_sample, quality
from difflm_core.training import Hybrid, Recipe, Size, ToyLanguage, Weights, train

SETTINGS = {
    "p_uniform": [0.0, 0.1, 0.2, 0.5],
    "weighted_at": 0.2,  # the share of random tokens at which the weightings are compared
    "train_steps": 400,
    "steps": [2, 4, 8, 16],
    "samples": 1000,
    "exact_samples": 128,
    "draft_steps": 4,
    "iterations": 12,
    "temperature": 0.1,
    "t0": 0.01,  # GIDD's
    "t0_with_own_token": 0.1,  # an editor that trusts the text must be told how far
    "sentences": 4096,
    "draws": 8,
}
SEEDS = (0, 1, 2)


def recipe_of(p_uniform: float, weights: Weights, seed: int) -> Recipe:
    steps = SETTINGS["train_steps"]
    task, size = Hybrid(p_uniform, weights), Size(time_conditioning=True)
    return Recipe(task=task, data=ToyLanguage(256), size=size, steps=steps, seed=seed, evaluate_every=steps)


def bound_of(p_uniform: float, model) -> dict:
    """The unweighted bound on fixed sentences, and their exact -log p."""
    language = toy_language()
    fresh = list(language.sample(SETTINGS["sentences"], generator=torch.Generator().manual_seed(4321)).split(512))
    nelbo = Hybrid(p_uniform).nelbo
    estimate = estimate_nelbo(
        lambda x, t, g: nelbo(model, x, t, g), fresh, SETTINGS["draws"], torch.Generator().manual_seed(5)
    )
    exact = -sum(language.log_prob(x).sum().item() for x in fresh) / estimate.tokens
    return {"bound": estimate.mean, "standard_error": estimate.standard_error, "exact": exact}


def drafts_by_steps(process, denoiser, samples: int, seed: int) -> dict[str, dict]:
    """Broken sentences against network calls."""
    shape, results = (samples, toy_language().length), {}
    for T in SETTINGS["steps"]:
        sample = sample_discrete(process, denoiser, T, shape, generator=torch.Generator().manual_seed(seed))
        results[str(T)] = of_sample(sample)
    return results


def corrections(process, denoiser, samples: int, seed: int) -> dict[str, dict]:
    """The same drafts corrected by what the others say, and by that with the token itself; and what either editor does
    to true sentences.
    """
    shape, generator = (samples, toy_language().length), torch.Generator().manual_seed(seed)
    draft = sample_discrete(process, denoiser, SETTINGS["draft_steps"], shape, generator=generator).tokens
    truth = toy_language().sample(samples, generator=generator)
    # A network of masks alone has no noise of its own that writes wrong tokens: it borrows one.
    trust = process if process.has_uniform else hybrid(process.V, SETTINGS["weighted_at"])
    editors = {
        "others": (denoiser, SETTINGS["t0"]),
        "with own token": (WithOwnEvidence(denoiser, trust), SETTINGS["t0_with_own_token"]),
    }
    results = {"before": quality(draft)}
    for name, (editor, t0) in editors.items():
        out, harm = (
            self_correct(
                editor, text, SETTINGS["iterations"], temperature=SETTINGS["temperature"], t0=t0,
                generator=torch.Generator().manual_seed(seed),
            )
            for text in (draft, truth)
        )  # fmt: skip
        results[name] = quality(out.tokens) | {
            "self_accuracy_before": out.self_accuracy[0].mean().item(),
            "self_accuracy_after": out.self_accuracy[-1].mean().item(),
            "changes": out.changes.double().mean().item(),
            "network_calls": out.network_calls.double().mean().item(),
            "true_broken": quality(harm.tokens)["broken"],
            "true_changes": harm.changes.double().mean().item(),
        }
    return results


def trained(p_uniform: float, weights: Weights, seed: int) -> dict:
    began = time.perf_counter()
    recipe = recipe_of(p_uniform, weights, seed)
    model = store.finished(train(recipe)).model
    seconds = round(time.perf_counter() - began)
    row = {"network": "trained", "p_uniform": p_uniform, "weights": weights.value, "seed": seed}
    row |= {"train_seconds": seconds, **bound_of(p_uniform, model)}
    process = hybrid(model.V, p_uniform)
    if weights is Weights.DYNAMIC:
        row["samplers"] = drafts_by_steps(process, model, SETTINGS["samples"], seed)
        row["correction"] = corrections(process, model, SETTINGS["samples"], seed)
    return row


def perfect(p_uniform: float, seed: int) -> dict:
    """The same samplers with the exact denoiser that GIDD's loss asks for."""
    language = toy_language()
    process = hybrid(language.V, p_uniform)
    denoiser = LeaveOneOut(language.denoiser(process), process)
    row = {"network": "exact", "p_uniform": p_uniform, "seed": seed}
    row["samplers"] = drafts_by_steps(process, denoiser, SETTINGS["exact_samples"], seed)
    if process.has_uniform:  # under masks alone a broken text is impossible, and nothing can be said about it
        row["correction"] = corrections(process, denoiser, SETTINGS["exact_samples"], seed)
    return row


def jobs():
    """What is run, in an order in which an early look is useful."""
    for seed in SEEDS:
        for p_uniform in SETTINGS["p_uniform"]:
            yield trained, (p_uniform, Weights.DYNAMIC, seed)
        for weights in (Weights.BOUND, Weights.CLAMPED, Weights.RELATIVE):
            yield trained, (SETTINGS["weighted_at"], weights, seed)
        for p_uniform in SETTINGS["p_uniform"]:
            yield perfect, (p_uniform, seed)


def main() -> None:
    started, runs = time.perf_counter(), []
    for how, arguments in jobs():
        runs.append(how(*arguments))
        row = runs[-1]
        shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items() if not isinstance(v, dict)}
        broken = ", ".join(f"{T}: {100 * q['broken']:.1f}" for T, q in row.get("samplers", {}).items())
        print(shown, f"broken % by steps {{{broken}}}", flush=True)
    settings = SETTINGS | {"recipe": asdict(recipe_of(0.2, Weights.DYNAMIC, 0).size)}
    store.save("gidd_sweep", settings, runs, time.perf_counter() - started)


if __name__ == "__main__":
    main()
