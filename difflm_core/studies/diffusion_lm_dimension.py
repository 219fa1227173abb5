"""Diffusion-LM on the toy language: x- against eps-prediction as the embeddings get wider, sqrt against linear.

Every cell trains the same network on the same batches; only the width D of the embeddings, what the network predicts,
and the schedule change. A given noise hides a word better in few dimensions than in many. So networks are compared at
equal *signal*, the squared length of an embedding over the variance of the noise, and against the exact posterior for
their own embeddings: what is lost is the network's fault. About 30 minutes on one core.
"""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from difflm_core.data import language_batches, toy_language
from difflm_core.data.toy_language import broken_rules
from difflm_core.models.diffusion_lm import DiffusionLM
from difflm_core.models.vector_transformer import VectorConfig, VectorTransformer
from difflm_core.objectives.diffusion_lm import diffusion_lm_loss
from difflm_core.objectives.diffusion_lm_bound import diffusion_lm_nelbo
from difflm_core.objectives.times import stratified_times
from difflm_core.oracle import PerfectReader
from difflm_core.processes import LinearBeta, Sqrt, time_of
from difflm_core.processes.floored import Floored
from difflm_core.samplers import sample_gaussian
from difflm_core.studies import store

SETTINGS = {
    "T": 200,
    "train_steps": 400,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "warmup": 50,
    "ema": 0.98,
    "width": 64,
    "layers": 2,
    "signals": [1, 3, 10, 30],  # |Emb|^2 alpha / (1 - alpha) at which noisy texts are read
    "sentences": 128,
    "steps": 50,
    "samples": 128,
    # every (kind, D, schedule) that a claim needs
    "cells": [
        *([kind, D, "sqrt"] for kind in ("x", "eps") for D in (4, 16, 64, 128)),
        *([kind, D, "linear"] for kind in ("x", "eps") for D in (16, 128)),
    ],
}
SEEDS = (0, 1, 2)


# At alpha = 0 an estimate of the noise says nothing about x: sqrt ends at 2e-7, as in the released code.
SCHEDULES = {"sqrt": Floored(Sqrt()), "linear": LinearBeta()}


def build(kind: str, D: int, schedule: str, seed: int) -> DiffusionLM:
    torch.manual_seed(seed)
    language = toy_language()
    net = VectorTransformer(VectorConfig(D, language.length, SETTINGS["width"], SETTINGS["layers"]))
    return DiffusionLM(language.V, net, kind, SCHEDULES[schedule])


def fit(
    model: torch.nn.Module,
    loss: Callable[[torch.nn.Module, Tensor, torch.Generator], Tensor],
    steps: int,
    seed: int,
    settings: dict = SETTINGS,
    look: Callable[[int, torch.nn.Module], None] | None = None,
) -> torch.nn.Module:
    """Train on exact samples of the toy language; returns the averaged weights. `look(step, averaged)` is called after
    every step.
    """
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(settings["ema"])
    )
    optimizer = torch.optim.AdamW(
        model.parameters(), settings["learning_rate"], weight_decay=0.0, betas=(0.9, 0.99), fused=True
    )
    generator = torch.Generator().manual_seed(seed)
    batches = language_batches(toy_language(), settings["batch_size"], torch.Generator().manual_seed(1000 + seed))
    for step in range(steps):
        rise = min(1.0, (step + 1) / settings["warmup"])
        fall = 0.1 + 0.9 * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.param_groups[0]["lr"] = settings["learning_rate"] * rise * fall
        value = loss(model, next(batches), generator)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        if look is not None:
            look(step + 1, average.module)
    return average.module.eval()


def training_loss(model: DiffusionLM, x: Tensor, generator: torch.Generator) -> Tensor:
    """The released code's sum of the four terms, one stratified time per sentence."""
    t = stratified_times(len(x), generator)
    return diffusion_lm_loss(model, x, t, generator, SETTINGS["T"]).as_code.mean()


@torch.no_grad()
def readings(model: DiffusionLM, sentences: int) -> dict:
    """Shares of words read right from noisy texts: by the network in one call, and by the exact posterior."""
    language, generator = toy_language(), torch.Generator().manual_seed(4321)
    x = language.sample(sentences, generator=generator)
    perfect, length2 = PerfectReader(model, toy_language()), model.embedding.square().sum(-1).mean().item()
    times, read, best = [], [], []
    for signal in SETTINGS["signals"]:
        alpha = torch.tensor([signal / (signal + length2)], dtype=torch.float64)
        t = time_of(model.process.schedule, alpha).float().expand(sentences)
        z_t = model.process.corrupt(model.start(x, generator), t, generator)
        times.append(t[0].item())
        read.append((model.round(model.x_hat(z_t, t)) == x).double().mean().item())
        best.append(perfect.words(z_t, t).amax(-1).mean().item())
    return {"times": times, "read": read, "best": best}


@torch.no_grad()
def bound_of(model: DiffusionLM, sentences: int) -> dict:
    """The bound on -log p of fresh sentences, nats per token, one draw of the noise at every step: with the network's
    x_hat, and with `rounded_x_hat`, which reads words off at small t.
    """
    x = toy_language().sample(sentences, generator=torch.Generator().manual_seed(5))
    ways = {"bound": model.x_hat, "bound_rounded": model.rounded_x_hat}
    return {
        name: diffusion_lm_nelbo(model, x, SETTINGS["T"], torch.Generator().manual_seed(6), way).nelbo.mean().item()
        for name, way in ways.items()
    }


@torch.no_grad()
def geometry(model: DiffusionLM) -> dict:
    """How long the embeddings are (root mean square of their numbers), and the distance to the next one in units of
    that length.
    """
    vectors = model.embedding.detach()
    rms = vectors.square().mean().sqrt().item()
    distance = torch.cdist(vectors, vectors).fill_diagonal_(math.inf).amin(1).mean().item()
    return {"rms": rms, "nearest": distance / (rms * model.D**0.5)}


def grammar(model: DiffusionLM, clamp: bool, seed: int) -> dict:
    """Of sampled sentences: the share without a mistake, and the share that keeps each rule."""
    shape, generator = (SETTINGS["samples"], model.length, model.D), torch.Generator().manual_seed(seed)
    nearest = (lambda x_hat, t: model.nearest(x_hat)) if clamp else None
    drawn = sample_gaussian(model.process, model.x_hat, SETTINGS["steps"], shape, generator, clamp=nearest)
    tokens = model.round(drawn.x)
    broken = broken_rules(toy_language(), tokens)
    kept = {rule: 1 - hit.double().mean().item() for rule, hit in broken.items()}
    return {"grammatical": toy_language().grammatical(tokens).double().mean().item(), "kept": kept}


def run(kind: str, D: int, schedule: str, seed: int, steps: int = SETTINGS["train_steps"]) -> dict:
    began = time.perf_counter()
    model = fit(build(kind, D, schedule, seed), training_loss, steps, seed)
    seconds = round(time.perf_counter() - began)
    row = {"kind": kind, "D": D, "schedule": schedule, "seed": seed, "train_seconds": seconds}
    row |= bound_of(model, SETTINGS["sentences"]) | readings(model, SETTINGS["sentences"]) | geometry(model)
    row["lost"] = sum(b - r for b, r in zip(row["best"], row["read"], strict=True)) / len(row["read"])
    row["plain"], row["clamped"] = grammar(model, False, seed), grammar(model, True, seed)
    return row


def main() -> None:
    started, runs = time.perf_counter(), []
    for seed in SEEDS:
        for kind, D, schedule in SETTINGS["cells"]:
            runs.append(run(kind, D, schedule, seed))
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in runs[-1].items()}, flush=True)
    store.save("diffusion_lm_dimension", SETTINGS, runs, time.perf_counter() - started)


if __name__ == "__main__":
    main()
