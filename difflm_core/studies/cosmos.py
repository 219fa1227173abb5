"""COSMOS on the toy language: four autoencoders, judged by reconstruction, by smoothness and by what diffusion draws.

The four differ by their loss only (`objectives.cosmos.stages`, at half of the released strengths), and each has its own
denoiser, trained alike. Two more spaces: the last one stirred (`models.Stirred`), the same reconstruction by
construction, and the last loss at the released strengths, made for larger networks and another language. The number N
of latents is varied as well. The frozen encoder is mdlm-tiny, tuned until its states show the words that are there, as
in TEncDM's study. Rows:

    true           what the figures of generation are for true sentences
    autoencoder    texts read back; words between two texts, under noise, with numbers missing
    generation     what diffusion draws in this space, and what its denoiser makes of noisy latents
"""

from collections.abc import Iterator
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.data import toy_language
from difflm_core.evaluation import decode_noisy, distinct_n, interpolate
from difflm_core.models import Cosmos, CosmosConfig, LatentConfig, LatentDenoiser, Stirred
from difflm_core.objectives import STAGES, Smoothing
from difflm_core.objectives.cosmos import drop_numbers, stages
from difflm_core.processes import GaussianProcess, ShiftedCosine, time_of
from difflm_core.samplers import sample_latents
from difflm_core.samplers.gaussian import at
from difflm_core.studies import store
from difflm_core.studies.tencdm import tuned_encoder
from difflm_core.studies.toy_quality import quality
from difflm_core.training import States, train_cosmos, train_latent_denoiser

SETTINGS = {
    "encoder": "mdlm-tiny, tuned",
    "texts": 16384,  # encoded once; autoencoders and denoisers are trained on these
    "N": 4,
    "width": 96,
    "layers": 1,  # each way; two learn no faster
    "autoencoder_steps": 1200,
    "denoiser_layers": 3,
    "denoiser_steps": 1000,
    "batch_size": 64,
    "learning_rate": 2e-3,
    "ema": 0.99,
    "steps": 50,
    "samples": 500,
    "held_out": 512,
    "weights": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5],  # the other half mirrors it
    "alphas": [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1],  # noise levels, the same for all spaces
    "missing": [0.0, 0.2, 0.4, 0.6],  # shares of the latents' numbers set to their mean
    "d": 5.0,
    "strengths": {"hide": 0.15, "keep": 0.85, "drop": 0.2},
    "N_sweep": [2, 8],
    "strength": 1.0,
    "frequency": 3.0,
}
SEEDS = (0, 1, 2)
LOSSES = stages(**SETTINGS["strengths"])
FULL, RELEASED = list(LOSSES)[-1], "released strengths"
COSINE = GaussianProcess(ShiftedCosine(1.0))  # alpha = cos^2(pi t / 2)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def encoded(count: int, seed: int) -> States:
    """True sentences with the frozen encoder's states."""
    ids = toy_language().sample(count, generator=seeded(seed))
    h = torch.cat([tuned_encoder().states(part) for part in ids.split(256)])
    return States(h, torch.ones_like(ids, dtype=torch.bool), ids)


def batches(parts: tuple[Tensor, ...], generator: torch.Generator) -> Iterator[tuple[Tensor, ...]]:
    """Endless batches of rows, drawn anew each time."""
    while True:
        rows = torch.randint(len(parts[0]), (SETTINGS["batch_size"],), generator=generator)
        yield tuple(part[rows] for part in parts)


def autoencoder(smoothing: Smoothing, N: int, seed: int) -> Cosmos:
    torch.manual_seed(seed)
    language, texts = toy_language(), encoded(SETTINGS["texts"], 200)
    D = texts.h.shape[2]
    sizes = (D, language.length, language.V, N, D, SETTINGS["width"], SETTINGS["layers"])
    model = Cosmos(CosmosConfig(*sizes), tuned_encoder().name)
    source = (States(*batch) for batch in batches(texts, seeded(300 + seed)))
    train_cosmos(
        model, source, SETTINGS["autoencoder_steps"], SETTINGS["learning_rate"], smoothing, 32, seeded(seed),
        progress=False,
    )  # fmt: skip
    return model.requires_grad_(False)


@torch.no_grad()
def latents(model: Cosmos | Stirred) -> Float[Tensor, "T N E"]:
    """Standardised latents of all training texts."""
    texts = encoded(SETTINGS["texts"], 200)
    return torch.cat([model.encode(h, mask) for h, mask in zip(texts.h.split(256), texts.mask.split(256))])


def denoiser(z: Float[Tensor, "T N E"], process: GaussianProcess, seed: int) -> tuple[LatentDenoiser, float]:
    """The network, and the mean of its last losses: squared error per standardised number."""
    torch.manual_seed(seed)
    _, N, D_ae = z.shape
    net = LatentDenoiser(LatentConfig(D_ae, N, SETTINGS["width"], SETTINGS["denoiser_layers"]))
    source = ((rows, None) for (rows,) in batches((z,), seeded(400 + seed)))
    losses = train_latent_denoiser(
        net, process, source, SETTINGS["denoiser_steps"], SETTINGS["learning_rate"], ema=SETTINGS["ema"],
        generator=seeded(seed), progress=False,
    )  # fmt: skip
    last = losses[-100:]
    return net, sum(last) / len(last)


def words_right(model: Cosmos | Stirred, z: Float[Tensor, "B N E"], texts: States) -> float:
    return (model.decode(z).argmax(-1) == texts.ids).double().mean().item()


@torch.no_grad()
def probes(model: Cosmos | Stirred, texts: States) -> dict:
    """Reconstruction without any perturbation, and words between texts, under noise, and with numbers missing."""
    z = model.encode(texts.h, texts.mask)
    read = (model.decode(z).argmax(-1) == texts.ids).double()
    pairs = [torch.stack(part.chunk(2)) for part in (z, texts.ids, texts.mask)]
    between = interpolate(model.decode, *pairs, SETTINGS["weights"])
    first, second = pairs[1]
    either = ((between.words == first) | (between.words == second)).double().mean((1, 2))
    times = times_of(COSINE)
    noisy = [words_right(model, COSINE.corrupt(z, at(t, z), seeded(7)), texts) for t in times]
    return {
        "words_read": read.mean().item(),
        "texts_read": read.prod(1).mean().item(),
        "either": either.tolist(),
        "nearer": between.nearer.tolist(),
        "grammatical": [toy_language().grammatical(words).double().mean().item() for words in between.words],
        "noisy": noisy,
        "noisy_ce": decode_noisy(model.decode, COSINE, z, texts.ids, texts.mask, times, seeded(7)).tolist(),
        "missing": [words_right(model, drop_numbers(z, share, seeded(8)), texts) for share in SETTINGS["missing"]],
    }


def times_of(process: GaussianProcess) -> list[float]:
    """The times at which the process has the levels of SETTINGS["alphas"]."""
    return time_of(process.schedule, torch.tensor(SETTINGS["alphas"], dtype=torch.float64)).tolist()


def figures(tokens: Int[Tensor, "B L"]) -> dict:
    return quality(tokens, least=20) | {"distinct_2": distinct_n(tokens, 2)}


@torch.no_grad()
def draw(model: Cosmos | Stirred, net: LatentDenoiser, process: GaussianProcess, texts: States, seed: int) -> dict:
    """Texts out of noise, and the words read right from the network's guess at noisy latents of true ones."""
    shape = (SETTINGS["samples"], model.config.N, model.config.D_ae)
    drawn = sample_latents(process, net, shape, SETTINGS["steps"], seeded(seed)).x
    z, denoised = model.encode(texts.h, texts.mask), []
    for t in times_of(process):
        times = at(t, z)
        denoised.append(words_right(model, net(process.corrupt(z, times, seeded(7)), times), texts))
    return figures(model.decode(drawn).argmax(-1)) | {"denoised": denoised}


def rows_of_space(model: Cosmos | Stirred, space: str, seed: int) -> Iterator[dict]:
    """One row for the autoencoder, one for diffusion in its space."""
    held_out, z, process = (
        encoded(SETTINGS["held_out"], 99),
        latents(model),
        GaussianProcess(ShiftedCosine(SETTINGS["d"])),
    )
    about = {"space": space, "N": model.config.N}
    yield {"kind": "autoencoder"} | about | probes(model, held_out)
    net, error = denoiser(z, process, seed)
    yield {"kind": "generation"} | about | {"error": error} | draw(model, net, process, held_out, seed)


def run(seed: int) -> Iterator[dict]:
    yield {"kind": "true"} | figures(toy_language().sample(SETTINGS["samples"], generator=seeded(seed)))
    for space, smoothing in LOSSES.items():
        model = autoencoder(smoothing, SETTINGS["N"], seed)
        yield from rows_of_space(model, space, seed)
    stirred = Stirred(model, SETTINGS["strength"], SETTINGS["frequency"]).measure(latents(model))
    yield from rows_of_space(stirred, "stirred", seed)
    for N in SETTINGS["N_sweep"]:
        yield from rows_of_space(autoencoder(LOSSES[FULL], N, seed), FULL, seed)
    yield from rows_of_space(autoencoder(STAGES[FULL], SETTINGS["N"], seed), RELEASED, seed)


def told(row: dict) -> str:
    if row["kind"] == "true":
        return f"true sentences: distinct-2 {row['distinct_2']:.3f}, spread {row['spread']:.2f}"
    where = f"{row['space']}, N = {row['N']}"
    if row["kind"] == "autoencoder":
        half = row["either"][-1]
        shares = f"words {row['words_read']:.3f}, texts {row['texts_read']:.3f}"
        return f"{where}: read {shares}, words of either text half-way {half:.3f}"
    return (
        f"{where}: grammatical {row['grammatical']:.3f}, distinct-2 {row['distinct_2']:.3f}, spread "
        f"{row['spread']:.2f}, error {row['error']:.3f}"
    )


def main() -> None:
    store.over_seeds("cosmos", SETTINGS, SEEDS, run, told)


if __name__ == "__main__":
    main()
