"""TEncDM on the toy language: encodings or embeddings, the schedule's d, four decoders on the same latents, steps.

The frozen encoder is the course checkpoint mdlm-tiny. For every schedule one denoiser is trained and sampled; the four
decoders (MLP or transformer, with noise or without) read the *same* drawn latents, so that their rows differ by the
decoder alone. Self-conditioning is judged by two networks, trained with it and without. About an hour on one core.
"""

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from difflm_core.data import language_batches, toy_language
from difflm_core.evaluation import judge_samples
from difflm_core.models import (
    LatentConfig,
    LatentDenoiser,
    MaskedEncoder,
    MLPDecoder,
    TEncDM,
    TokenDecoderConfig,
    TransformerDecoder,
)
from difflm_core.processes import GaussianProcess, ShiftedCosine, Sqrt
from difflm_core.processes.floored import Floored
from difflm_core.samplers import magnitudes, sample_latents
from difflm_core.studies import store
from difflm_core.training import States, train_latent_denoiser, train_tencdm_decoder
from difflm_core.training.course import course_checkpoint

SETTINGS = {
    "encoder": "mdlm-tiny",
    "width": 96,
    "layers": 3,
    "train_steps": 1500,
    "decoder_steps": 400,
    "decoder_layers": 2,
    "batch_size": 128,
    "learning_rate": 2e-3,
    "ema": 0.99,
    "corrupt_up_to": 0.15,
    "steps": 50,
    "samples": 256,
    "read_at": [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9],
    "schedules": ["tan-1", "tan-3", "tan-5", "tan-9", "tan-13", "sqrt"],
    "usual": "tan-5",  # of the comparisons other than that of schedules
    "step_counts": [5, 10, 20, 50, 100, 200],
}
SEEDS = (0, 1, 2)
DECODERS = {
    "MLP": (MLPDecoder, 0.0),
    "MLP + Cor": (MLPDecoder, SETTINGS["corrupt_up_to"]),
    "transformer": (TransformerDecoder, 0.0),
    "transformer + Cor": (TransformerDecoder, SETTINGS["corrupt_up_to"]),
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def process_of(schedule: str) -> GaussianProcess:
    return GaussianProcess(Floored(Sqrt()) if schedule == "sqrt" else ShiftedCosine(float(schedule[4:])))


def frozen_encoder() -> MaskedEncoder:
    return MaskedEncoder(SETTINGS["encoder"], course_checkpoint(SETTINGS["encoder"])[0])


def encoded(encoder: MaskedEncoder, canvas: str, generator: torch.Generator) -> Iterator[States]:
    """Endless batches of the encoder's states ("encodings") or of its word embeddings ("embeddings")."""
    for ids in language_batches(toy_language(), SETTINGS["batch_size"], generator):
        h = encoder.states(ids) if canvas == "encodings" else encoder.embeddings[ids]
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


def draw(net: LatentDenoiser, process: GaussianProcess, seed: int, steps: int, self_condition: bool):
    shape = (SETTINGS["samples"], net.config.length, net.config.D)
    return sample_latents(process, net, shape, steps, seeded(seed), self_condition=self_condition, record=True)


def judged(model: TEncDM, latents: Tensor) -> dict:
    """What the exact language makes of the decoded texts."""
    tokens, language = model.decode(latents).argmax(-1), toy_language()
    report = judge_samples(tokens, language.log_prob)
    grammatical = language.grammatical(tokens).double().mean().item()
    return {"grammatical": grammatical, "perplexity": report.perplexity, "distinct_2": report.distinct_2}


@torch.no_grad()
def readings(model: TEncDM, net: LatentDenoiser, process: GaussianProcess, batch: States) -> dict:
    """Shares of words read right: from clean latents, from z_t as it is, and from the network's x_hat(z_t, t)."""
    x, noisy, denoised = model.encode(*batch), [], []
    for time_ in SETTINGS["read_at"]:
        t = torch.full((len(x),), time_)
        z_t = process.corrupt(x, t, seeded(7))
        for shares, latents in ((noisy, z_t), (denoised, net(z_t, t))):
            shares.append((model.decode(latents).argmax(-1) == batch.ids).double().mean().item())
    clean = (model.decode(x).argmax(-1) == batch.ids).double().mean().item()
    return {"clean": clean, "noisy": noisy, "denoised": denoised}


@torch.no_grad()
def run(canvas: str, schedule: str, seed: int, decoders: list[str], self_conditioning: float = 0.5) -> dict:
    """One denoiser; every decoder reads the same latents. With self-conditioning off, the sampler's is off too."""
    began, encoder, process = time.perf_counter(), frozen_encoder(), process_of(schedule)
    with torch.enable_grad():
        models = {name: autoencoder(encoder, canvas, name, process, seed) for name in decoders}
        best = models[decoders[-1]]
        net = denoiser(best, encoder, canvas, process, seed, self_conditioning)
    held_out = next(encoded(encoder, canvas, seeded(99)))
    sample = draw(net, process, seed, SETTINGS["steps"], self_conditioning > 0)
    row = {"canvas": canvas, "schedule": schedule, "seed": seed, "self_conditioning": self_conditioning}
    row |= {"seconds": round(time.perf_counter() - began), "read": readings(best, net, process, held_out)}
    row["decoders"] = {name: judged(model, sample.x) for name, model in models.items()}
    if schedule == SETTINGS["usual"] and canvas == "encodings":
        row["by_steps"] = []
        for steps in SETTINGS["step_counts"]:
            sample = draw(net, process, seed, steps, self_conditioning > 0)
            sizes = magnitudes(sample)
            row["by_steps"].append({"steps": steps, "last_magnitude": sizes[-1].item()} | judged(best, sample.x))
            if steps == SETTINGS["steps"]:
                row["magnitudes"] = sizes.tolist()
    return row


def cells() -> list[dict]:
    usual, best = SETTINGS["usual"], list(DECODERS)[-1]
    rows = [
        {"canvas": "encodings", "schedule": name, "decoders": list(DECODERS) if name == usual else [best]}
        for name in SETTINGS["schedules"]
    ]
    rows.append({"canvas": "embeddings", "schedule": usual, "decoders": [best]})
    rows.append({"canvas": "encodings", "schedule": usual, "decoders": [best], "self_conditioning": 0.0})
    return rows


def main() -> None:
    started, runs = time.perf_counter(), []
    for seed in SEEDS:
        for cell in cells():
            runs.append(run(seed=seed, **cell))
            print({key: value for key, value in runs[-1].items() if key not in ("magnitudes", "by_steps")}, flush=True)
    store.save("tencdm", SETTINGS, runs, time.perf_counter() - started)


if __name__ == "__main__":
    main()
