"""COSMOS on the toy language: four autoencoders, judged by reconstruction, by smoothness and by what diffusion draws.

The four differ by their loss only (`objectives.STAGES`), and each has its own denoiser, trained alike. With the last of
them, the number N of latents and the schedule's d are varied too. The frozen encoder is the course checkpoint
mdlm-tiny. About an hour and a half on one core.
"""

import time

import torch
from torch import Tensor

from difflm_core.data import toy_language
from difflm_core.evaluation import decode_noisy, interpolate, judge_samples
from difflm_core.models import Cosmos, CosmosConfig, LatentConfig, LatentDenoiser
from difflm_core.objectives import STAGES, cosmos_loss
from difflm_core.processes import GaussianProcess, ShiftedCosine
from difflm_core.samplers import sample_latents
from difflm_core.studies import store
from difflm_core.studies.tencdm import encoded, frozen_encoder, seeded
from difflm_core.training import States, train_cosmos, train_latent_denoiser

SETTINGS = {
    "encoder": "mdlm-tiny",
    "N": 4,
    "d": 5.0,
    "width": 96,
    "layers": 2,
    "autoencoder_steps": 1500,
    "denoiser_layers": 3,
    "train_steps": 1500,
    "batch_size": 128,
    "learning_rate": 2e-3,
    "ema": 0.99,
    "steps": 50,
    "samples": 256,
    "weights": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5],  # the other half mirrors it
    "noise_at": [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5],  # times on the cosine schedule, for all alike
    "N_sweep": [2, 8, 12],
    "d_sweep": [1.0, 3.0, 9.0],
}
SEEDS = (0, 1, 2)
FULL = list(STAGES)[-1]


def autoencoder(stage: str, N: int, seed: int) -> Cosmos:
    torch.manual_seed(seed)
    encoder, language = frozen_encoder(), toy_language()
    sizes = (encoder.dim, language.length, language.V, N, encoder.dim, SETTINGS["width"], SETTINGS["layers"])
    model = Cosmos(CosmosConfig(*sizes), encoder.name)
    batches = encoded(encoder, "encodings", seeded(1000 + seed))
    train_cosmos(
        model, batches, SETTINGS["autoencoder_steps"], SETTINGS["learning_rate"], STAGES[stage], 32, seeded(seed),
        progress=False,
    )  # fmt: skip
    return model


def denoiser(model: Cosmos, process: GaussianProcess, seed: int) -> LatentDenoiser:
    torch.manual_seed(seed)
    net = LatentDenoiser(
        LatentConfig(model.config.D_ae, model.config.N, SETTINGS["width"], SETTINGS["denoiser_layers"])
    )  # fmt: skip
    batches = encoded(frozen_encoder(), "encodings", seeded(2000 + seed))
    latents = ((model.encode(batch.h, batch.mask), None) for batch in batches)
    train_latent_denoiser(
        net, process, latents, SETTINGS["train_steps"], SETTINGS["learning_rate"], ema=SETTINGS["ema"],
        generator=seeded(seed), progress=False,
    )  # fmt: skip
    return net


@torch.no_grad()
def probes(model: Cosmos, batch: States) -> dict:
    """Reconstruction without any perturbation, and smoothness between and around texts."""
    clean = cosmos_loss(model, *batch, STAGES["CE"])
    z = model.encode(batch.h, batch.mask)
    pairs = [torch.stack(part.chunk(2)) for part in (z, batch.ids, batch.mask)]
    between = interpolate(model.decode, *pairs, SETTINGS["weights"])
    words, (first, second) = between.words, pairs[1]
    either = ((words == first) | (words == second)).double().mean((1, 2))
    grammatical = torch.stack([toy_language().grammatical(row).double().mean() for row in words])
    noisy = decode_noisy(
        model.decode, GaussianProcess(ShiftedCosine(1.0)), z, batch.ids, batch.mask, SETTINGS["noise_at"], seeded(7)
    )  # fmt: skip
    read = (model.decode(z).argmax(-1) == batch.ids).double()
    curves = {"nearer": between.nearer, "either": either, "grammatical": grammatical, "noisy_ce": noisy}
    row = {"words_read": read.mean().item(), "texts_read": read.prod(1).mean().item()}
    row |= {"ce": clean.ce.mean().item(), "mse": clean.mse.mean().item()}
    return row | {name: curve.tolist() for name, curve in curves.items()}


def judged(model: Cosmos, latents: Tensor) -> dict:
    """What the exact language makes of the decoded texts."""
    tokens, language = model.decode(latents).argmax(-1), toy_language()
    report = judge_samples(tokens, language.log_prob)
    grammatical = language.grammatical(tokens).double().mean().item()
    return {"grammatical": grammatical, "perplexity": report.perplexity, "distinct_2": report.distinct_2}


def run(stage: str, N: int, ds: list[float], seed: int) -> list[dict]:
    """One autoencoder, a denoiser on each of the schedules tan-d; one row per schedule."""
    began = time.perf_counter()
    model = autoencoder(stage, N, seed).requires_grad_(False)
    about = {"stage": stage, "N": N, "seed": seed, "autoencoder_seconds": round(time.perf_counter() - began)}
    about["probes"], rows = probes(model, next(encoded(frozen_encoder(), "encodings", seeded(99)))), []
    for d in ds:
        began, process = time.perf_counter(), GaussianProcess(ShiftedCosine(d))
        net = denoiser(model, process, seed)
        shape = (SETTINGS["samples"], N, model.config.D_ae)
        drawn = sample_latents(process, net, shape, SETTINGS["steps"], seeded(seed)).x
        rows.append(about | {"d": d, "drawn": judged(model, drawn), "seconds": round(time.perf_counter() - began)})
    return rows


def main() -> None:
    started, runs = time.perf_counter(), []
    cells = [(stage, SETTINGS["N"], [SETTINGS["d"]]) for stage in STAGES if stage != FULL]
    cells.append((FULL, SETTINGS["N"], [SETTINGS["d"], *SETTINGS["d_sweep"]]))
    cells += [(FULL, N, [SETTINGS["d"]]) for N in SETTINGS["N_sweep"]]
    for seed in SEEDS:
        for cell in cells:
            for row in run(*cell, seed):
                runs.append(row)
                print({key: value for key, value in row.items() if key != "probes"}, flush=True)
    store.save("cosmos", SETTINGS, runs, time.perf_counter() - started)


if __name__ == "__main__":
    main()
