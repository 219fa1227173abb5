"""TEncDM on the toy language: which canvas, the schedule's d, four decoders on the same latents, steps.

Three canvases: the states of mdlm-tiny, tuned until they show the words that are there ("encodings"), its states as
they are ("untuned"), and its word embeddings. For every schedule one denoiser is trained and sampled, on its own grid
of noise levels and on those of the others. The four decoders (MLP or transformer, with noise or without) read the
*same* drawn latents, so that their rows differ by the decoder alone. Self-conditioning is judged by two networks,
trained with it and without.
"""

import time
from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor

from difflm_core.data import language_batches, toy_language
from difflm_core.evaluation import distinct_n
from difflm_core.models import (
    LatentConfig,
    LatentDenoiser,
    MaskedEncoder,
    MLPDecoder,
    TEncDM,
    TokenDecoderConfig,
    TransformerDecoder,
)
from difflm_core.processes import GaussianProcess, ShiftedCosine, Sqrt, masked, time_of
from difflm_core.processes.floored import Floored
from difflm_core.samplers import magnitudes, sample_latents
from difflm_core.studies import store
from difflm_core.studies.toy_quality import quality
from difflm_core.training import States, corrupted, train_latent_denoiser, train_tencdm_decoder, tune_encoder
from difflm_core.training.course import course_checkpoint

SETTINGS = {
    "encoder": "mdlm-tiny",
    "tuning_steps": 400,
    "hidden_share": 0.3,
    "width": 96,
    "layers": 2,
    "train_steps": 1200,
    "decoder_steps": 250,
    "decoder_layers": 2,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "ema": 0.99,
    "corrupt_up_to": 0.15,
    "steps": 50,
    "samples": 256,
    "read_at": [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9],
    "schedules": ["tan-1", "tan-3", "tan-5", "tan-9", "sqrt"],
    "usual": "tan-3",  # of the comparisons other than that of schedules
    "step_counts": [5, 10, 20, 50, 200],
    "walkers": ["tan-1", "tan-3", "tan-9"],  # networks that are also sampled on the others' grids,
}
SEEDS = (0, 1, 2)
DECODERS = {
    "MLP": (MLPDecoder, 0.0),
    "MLP + Cor": (MLPDecoder, SETTINGS["corrupt_up_to"]),
    "transformer": (TransformerDecoder, 0.0),
    "transformer + Cor": (TransformerDecoder, SETTINGS["corrupt_up_to"]),
}
CANVASES = ("encodings", "untuned", "embeddings")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def process_of(schedule: str) -> GaussianProcess:
    return GaussianProcess(Floored(Sqrt()) if schedule == "sqrt" else ShiftedCosine(float(schedule[4:])))


def frozen_encoder() -> MaskedEncoder:
    return MaskedEncoder(SETTINGS["encoder"], course_checkpoint(SETTINGS["encoder"])[0])


@cache
@torch.enable_grad()  # also where a study measures without gradients
def tuned_encoder() -> MaskedEncoder:
    """mdlm-tiny after a short training on all words of half-hidden texts, the visible ones too; then frozen."""
    model, _ = course_checkpoint(SETTINGS["encoder"])
    texts = language_batches(toy_language(), SETTINGS["batch_size"], seeded(500))
    hide = corrupted(masked(model.V), SETTINGS["hidden_share"], seeded(501))
    tune_encoder(model, texts, hide, SETTINGS["tuning_steps"], progress=False)
    return MaskedEncoder(f"{SETTINGS['encoder']}, tuned", model)


def encoded(encoder: MaskedEncoder, canvas: str, generator: torch.Generator) -> Iterator[States]:
    """Endless batches of the encoder's word embeddings ("embeddings") or of its states (any other canvas)."""
    for ids in language_batches(toy_language(), SETTINGS["batch_size"], generator):
        h = encoder.embeddings[ids] if canvas == "embeddings" else encoder.states(ids)
        yield States(h, torch.ones_like(ids, dtype=torch.bool), ids)


def autoencoder(encoder: MaskedEncoder, canvas: str, decoder: str, process: GaussianProcess, seed: int) -> TEncDM:
    torch.manual_seed(seed)
    language, (build, corrupt_up_to) = toy_language(), DECODERS[decoder]
    sizes = TokenDecoderConfig(
        encoder.dim, language.length, language.V, SETTINGS["width"], SETTINGS["decoder_layers"]
    )  # fmt: skip
    batches = encoded(encoder, canvas, seeded(1000 + seed))
    model = TEncDM(encoder, build(sizes)).measure(next(batches) for _ in range(32))
    train_tencdm_decoder(
        model, process, batches, SETTINGS["decoder_steps"], SETTINGS["learning_rate"], corrupt_up_to, seeded(seed),
        progress=False,
    )  # fmt: skip
    return model


def denoiser(
    model: TEncDM, encoder: MaskedEncoder, canvas: str, process: GaussianProcess, seed: int, self_conditioning: float
) -> LatentDenoiser:
    torch.manual_seed(seed)
    config = LatentConfig(encoder.dim, toy_language().length, SETTINGS["width"], SETTINGS["layers"])
    net = LatentDenoiser(config)
    latents = ((model.encode(*batch), None) for batch in encoded(encoder, canvas, seeded(2000 + seed)))
    train_latent_denoiser(
        net, process, latents, SETTINGS["train_steps"], SETTINGS["learning_rate"], ema=SETTINGS["ema"],
        self_conditioning=self_conditioning, generator=seeded(seed), progress=False,
    )  # fmt: skip
    return net


def draw(net: Callable, process: GaussianProcess, D: int, seed: int, steps: int, self_condition: bool):
    shape = (SETTINGS["samples"], toy_language().length, D)
    return sample_latents(process, net, shape, steps, seeded(seed), self_condition=self_condition, record=True)


def on_grid(net: Callable, own: GaussianProcess, other: GaussianProcess) -> Callable:
    """The network for a walk over `other`'s noise levels: it is told the time at which its own schedule has them."""
    return lambda z_t, t, previous: net(z_t, time_of(own.schedule, other.alpha(t)).to(z_t.dtype), previous)


def judged(model: TEncDM, latents: Tensor) -> dict:
    """What the exact language makes of the decoded texts, and how various they are."""
    tokens = model.decode(latents).argmax(-1)
    return quality(tokens) | {"distinct_2": distinct_n(tokens, 2)}


def read(model: TEncDM, latents: Tensor, batch: States) -> Tensor:
    """Which words are read right: (B, L)."""
    return model.decode(latents).argmax(-1) == batch.ids


def share(right: Tensor) -> float:
    return right.double().mean().item()


@torch.no_grad()
def reading(model: TEncDM, process: GaussianProcess, batch: States) -> dict:
    """Shares of words (and of whole texts) read right from clean latents, and of words from z_t as it is."""
    x, noisy = model.encode(*batch), []
    for time_ in SETTINGS["read_at"]:
        z_t = process.corrupt(x, torch.full((len(x),), time_), seeded(7))
        noisy.append(share(read(model, z_t, batch)))
    clean = read(model, x, batch)
    return {"clean": share(clean), "texts": share(clean.all(1)), "noisy": noisy}


@torch.no_grad()
def denoising(
    model: TEncDM, net: LatentDenoiser, process: GaussianProcess, batch: States, self_condition: bool
) -> dict:
    """Of x_hat(z_t, t) on held-out texts: the words read from it, its squared error and its mean square per number."""
    x, rows = model.encode(*batch), {"words": [], "error": [], "size": []}
    for time_ in SETTINGS["read_at"]:
        t = torch.full((len(x),), time_)
        z_t = process.corrupt(x, t, seeded(7))
        x_hat = net(z_t, t)
        x_hat = net(z_t, t, x_hat) if self_condition else x_hat
        rows["words"].append(share(read(model, x_hat, batch)))
        rows["error"].append((x_hat - x).square().mean().item())
        rows["size"].append(x_hat.square().mean().item())
    return rows


@torch.no_grad()
def run(canvas: str, schedule: str, seed: int, decoders: list[str], self_conditioning: float = 0.5) -> dict:
    """One denoiser; every decoder reads the same latents. With self-conditioning off, the sampler's is off too."""
    began, process, conditioned = time.perf_counter(), process_of(schedule), self_conditioning > 0
    with torch.enable_grad():
        encoder = frozen_encoder() if canvas == "untuned" else tuned_encoder()
        models = {name: autoencoder(encoder, canvas, name, process, seed) for name in decoders}
        best = models[decoders[-1]]
        net = denoiser(best, encoder, canvas, process, seed, self_conditioning)
    held_out = States(*map(torch.cat, zip(*(next(encoded(encoder, canvas, seeded(99 + i))) for i in range(4)))))
    sample = draw(net, process, encoder.dim, seed, SETTINGS["steps"], conditioned)
    row = {"canvas": canvas, "schedule": schedule, "seed": seed, "self_conditioning": self_conditioning}
    row["denoising"] = denoising(best, net, process, held_out, conditioned)
    row["reading"] = {name: reading(model, process, held_out) for name, model in models.items()}
    row["decoders"] = {name: judged(model, sample.x) for name, model in models.items()}
    usual = schedule == SETTINGS["usual"]
    if canvas == "encodings" and conditioned and schedule in SETTINGS["walkers"]:
        row["walked"] = {other: walked(best, net, process, other, seed) for other in SETTINGS["schedules"]}
    if canvas == "encodings" and usual:
        row["by_steps"] = [steps_row(best, net, process, seed, steps, conditioned) for steps in SETTINGS["step_counts"]]
    return row | {"seconds": round(time.perf_counter() - began)}


def walked(model: TEncDM, net: LatentDenoiser, own: GaussianProcess, other: str, seed: int) -> dict:
    """The same network on another schedule's grid of noise levels."""
    process = process_of(other)
    sample = draw(on_grid(net, own, process), process, net.config.D, seed, SETTINGS["steps"], True)
    return judged(model, sample.x)


def steps_row(model: TEncDM, net: LatentDenoiser, process: GaussianProcess, seed: int, steps: int, sc: bool) -> dict:
    sample = draw(net, process, net.config.D, seed, steps, sc)
    return {"steps": steps, "magnitudes": [round(m, 4) for m in magnitudes(sample).tolist()]} | judged(model, sample.x)


def cells() -> list[dict]:
    """Keyword arguments of `run`, the comparisons on the usual schedule first."""
    usual, best = SETTINGS["usual"], list(DECODERS)[-1]
    rows = [{"canvas": "encodings", "schedule": usual, "decoders": list(DECODERS)}]
    rows.append({"canvas": "encodings", "schedule": usual, "decoders": [best], "self_conditioning": 0.0})
    rows += [{"canvas": canvas, "schedule": usual, "decoders": [best]} for canvas in CANVASES[1:]]
    others = [name for name in SETTINGS["schedules"] if name != usual]
    return rows + [{"canvas": "encodings", "schedule": name, "decoders": [best]} for name in others]


def told(row: dict) -> str:
    figures = list(row["decoders"].values())[-1]
    clean = list(row["reading"].values())[-1]
    return (
        f"{row['canvas']:10s} {row['schedule']:6s} self-conditioning {row['self_conditioning']:g}: grammatical "
        f"{figures['grammatical']:.1%}, distinct-2 {figures['distinct_2']:.3f}, words read {clean['clean']:.1%}, "
        f"{row['seconds']} s"
    )


def main() -> None:
    store.over_seeds("tencdm", SETTINGS, SEEDS, lambda seed: (run(seed=seed, **cell) for cell in cells()), told)


if __name__ == "__main__":
    main()
