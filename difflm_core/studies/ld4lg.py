"""LD4LG on the toy language: how small a bottleneck may be, what the frozen decoder writes on its own, and generation.

Once per seed an encoder, which starts as the course checkpoint mdlm-tiny, and a new decoder learn to mend texts of
which a part is hidden; then both are frozen for all bottlenecks. Four questions, one kind of row each:

    bottleneck   do texts come back from their own latents, and from another's?
    alone        how grammatical is what the decoder makes of latents that mean little: another's, noisy, random ones?
    generation   v or x, with and without self-conditioning, two variances, by steps
    guidance     the share of texts of the class that was asked for, and what it costs
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from difflm_core.data import language_batches, toy_language
from difflm_core.data.toy_language import GRAMMAR
from difflm_core.evaluation.latents import shuffled, use_of_latents
from difflm_core.models import (
    LD4LG,
    DecoderConfig,
    LatentConfig,
    LatentDecoder,
    LatentDenoiser,
    PerceiverConfig,
    Transformer,
    on_sphere,
)
from difflm_core.oracle.grammar_labels import feature_value
from difflm_core.processes import GaussianProcess, ShiftedCosine, masked
from difflm_core.samplers import ancestral_step, large_step, sample_latents, write_texts
from difflm_core.samplers.gaussian import at
from difflm_core.studies import store
from difflm_core.studies.toy_quality import quality
from difflm_core.training import (
    States,
    corrupted,
    pretrain_seq2seq,
    state_batches,
    train_latent_denoiser,
    train_ld4lg,
)
from difflm_core.training.course import course_checkpoint

SETTINGS = {
    "encoder": "mdlm-tiny",
    "hidden_share": 0.3,
    "pretraining_steps": 1500,
    "bottleneck_steps": 1500,
    "denoiser_steps": 2000,
    "batch_size": 128,
    "width": 96,
    "layers": 2,
    "denoiser_layers": 3,
    "bottlenecks": [[1, 16], [2, 16], [4, 8], [4, 16], [6, 16]],  # N latents of D_ae numbers
    "usual": [4, 16],
    "held_out": 1024,
    "samples": 1000,
    "noisy_at": [0.1, 0.2, 0.3, 0.5, 0.7],
    "step_counts": [5, 10, 25, 100, 250],
    "feature": "colour",
    "weights": [0.0, 1.0, 2.0, 4.0],
    "guided_steps": 50,
}
SEEDS = (0, 1, 2)
PROCESS = GaussianProcess(ShiftedCosine(1.0))  # alpha = cos^2(pi t / 2)
NETWORKS = {"v": ("v", 0.5), "v without self-conditioning": ("v", 0.0), "x": ("x", 0.5)}  # kind, self-conditioning


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def texts(seed: int) -> Iterator[Tensor]:
    return language_batches(toy_language(), SETTINGS["batch_size"], seeded(seed))


def pretrained(seed: int) -> tuple[Transformer, LatentDecoder, float]:
    """Encoder and decoder of a denoising autoencoder, and its last losses (nats per token)."""
    torch.manual_seed(seed)
    encoder, _ = course_checkpoint(SETTINGS["encoder"])
    sizes = DecoderConfig(encoder.V, encoder.length, encoder.config.width, 1, SETTINGS["width"], SETTINGS["layers"])
    decoder = LatentDecoder(sizes)
    hide = corrupted(masked(encoder.V), SETTINGS["hidden_share"], seeded(10 + seed))
    losses = pretrain_seq2seq(
        encoder, decoder, texts(100 + seed), hide, SETTINGS["pretraining_steps"], progress=False
    )  # fmt: skip
    last = losses[-50:]
    return encoder, decoder, sum(last) / len(last)


def autoencoder(encoder: Transformer, decoder: LatentDecoder, N: int, D_ae: int, seed: int) -> LD4LG:
    torch.manual_seed(seed)
    sizes = PerceiverConfig(encoder.config.width, encoder.length, N, D_ae, SETTINGS["width"], SETTINGS["layers"])
    model = LD4LG(sizes, decoder)
    train_ld4lg(model, state_batches(encoder, texts(200 + seed)), SETTINGS["bottleneck_steps"], progress=False)
    return model


def denoiser(model: LD4LG, encoder: Transformer, kind: str, self_conditioning: float, seed: int) -> LatentDenoiser:
    """It learns with labels, so that one network serves generation with and without a class."""
    torch.manual_seed(seed)
    config, labels = model.config, len(GRAMMAR.features[SETTINGS["feature"]])
    net = LatentDenoiser(
        LatentConfig(config.D_ae, config.N, SETTINGS["width"], SETTINGS["denoiser_layers"], labels=labels)
    )
    latents = labelled(model, state_batches(encoder, texts(300 + seed)))
    train_latent_denoiser(
        net, PROCESS, latents, SETTINGS["denoiser_steps"], kind=kind, self_conditioning=self_conditioning,
        generator=seeded(20 + seed), progress=False,
    )  # fmt: skip
    return net


@torch.no_grad()
def labelled(model: LD4LG, batches: Iterator[States]) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in batches:
        yield model.encode(batch.h, batch.mask), feature_value(GRAMMAR, SETTINGS["feature"], batch.ids)


def bottleneck(model: LD4LG, held_out: States) -> dict:
    with torch.no_grad():
        latents = model.encode(held_out.h)
    ways = {"own": latents, "another's": shuffled(latents, seeded(1))}
    return {name: vars(use_of_latents(model, given, held_out.ids)) for name, given in ways.items()}


@torch.no_grad()
def alone(model: LD4LG, held_out: States) -> dict[str, dict]:
    """What the decoder writes of latents that were not made by diffusion; `kept` are words as in the true text."""
    latents = model.encode(held_out.h)
    noise = torch.randn(latents.shape, generator=seeded(2))
    given = {"own": latents, "random": on_sphere(noise)}
    for time_ in SETTINGS["noisy_at"]:
        given[f"noisy at {time_:g}"] = PROCESS.corrupt(latents, at(time_, latents), seeded(3))
    rows = {}
    for name, vectors in given.items():
        tokens = write_texts(model, vectors).tokens
        kept = (tokens == held_out.ids).double().mean().item()
        rows[name] = quality(tokens) | {"kept": kept}
    return rows


def generation(model: LD4LG, net: LatentDenoiser, network: str, seed: int) -> Iterator[dict]:
    kind, self_conditioning = NETWORKS[network]
    shape = (SETTINGS["samples"], model.config.N, model.config.D_ae)
    for steps in SETTINGS["step_counts"]:
        for variance, step in {"small": ancestral_step, "large": large_step}.items():
            sample = sample_latents(
                PROCESS, net, shape, steps, seeded(30 + seed), kind, step, self_condition=self_conditioning > 0
            )
            yield {"steps": steps, "variance": variance} | quality(write_texts(model, sample.x).tokens)


def guidance(model: LD4LG, net: LatentDenoiser, seed: int) -> Iterator[dict]:
    shape, classes = (
        (SETTINGS["samples"], model.config.N, model.config.D_ae),
        len(GRAMMAR.features[SETTINGS["feature"]]),
    )
    label = torch.arange(shape[0]) % classes
    for weight in SETTINGS["weights"]:
        sample = sample_latents(
            PROCESS,
            net,
            shape,
            SETTINGS["guided_steps"],
            seeded(40 + seed),
            "v",
            large_step,
            label=label,
            weight=weight,
        )
        tokens = write_texts(model, sample.x).tokens
        hit = (feature_value(GRAMMAR, SETTINGS["feature"], tokens) == label).double().mean().item()
        yield {"weight": weight, "asked_for": hit} | quality(tokens)


def run(seed: int) -> Iterator[dict]:
    encoder, decoder, loss = pretrained(seed)
    yield {"what": "pretraining", "loss": loss}
    held_out = toy_language().sample(SETTINGS["held_out"], generator=seeded(99))
    held_out = next(state_batches(encoder, [held_out]))
    for N, D_ae in SETTINGS["bottlenecks"]:
        model = autoencoder(encoder, decoder, N, D_ae, seed)
        yield {"what": "bottleneck", "N": N, "D_ae": D_ae, **bottleneck(model, held_out)}
        if [N, D_ae] == SETTINGS["usual"]:
            usual = model
    for given, row in alone(usual, held_out).items():
        yield {"what": "alone", "given": given, **row}
    for network, (kind, self_conditioning) in NETWORKS.items():
        net = denoiser(usual, encoder, kind, self_conditioning, seed)
        for row in generation(usual, net, network, seed):
            yield {"what": "generation", "network": network, **row}
        if network == "v":
            for row in guidance(usual, net, seed):
                yield {"what": "guidance", **row}


def main() -> None:
    store.over_seeds("ld4lg", SETTINGS, SEEDS, run, told)


def told(row: dict) -> str:
    if row["what"] == "pretraining":
        return f"pretraining {row['loss']:.3f} nats per token of texts with hidden words"
    if row["what"] == "bottleneck":
        own, other = row["own"], row["another's"]
        ours = f"BLEU {own['bleu']:.3f}, exact {own['exact']:.3f}"
        return f"{row['N']} x {row['D_ae']}: {ours}; with another's BLEU {other['bleu']:.3f}"
    shown = ("given", "network", "steps", "variance", "weight", "asked_for", "kept")
    name = {key: row[key] for key in shown if key in row}
    return f"{row['what']} {name} grammatical {row['grammatical']:.3f}, distinct {row['distinct']:.3f}"


if __name__ == "__main__":
    main()
