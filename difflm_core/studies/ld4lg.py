"""LD4LG on the toy language: how small a bottleneck may be, what the frozen decoder writes on its own, and generation.

An encoder, which starts as the course checkpoint mdlm-tiny, and a new decoder first learn to mend texts of which a
part is hidden; then both are frozen for good. That is done once: as in the paper, all runs share one language model,
and the seeds are those of bottlenecks, denoisers and samples. Four questions, one kind of row each:

    bottleneck   do texts come back from their own latents, from another's, from latents with noise?
    alone        how grammatical is what the decoder makes of latents that diffusion had no part in?
    generation   by size of the bottleneck (and without one), v or x, self-conditioning, variance, steps
    guidance     the share of texts of the class that was asked for, and what it costs
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.data import language_batches, toy_language
from difflm_core.data.toy_language import GRAMMAR
from difflm_core.evaluation import distinct_n
from difflm_core.evaluation.latents import robustness, shuffled, use_of_latents
from difflm_core.models import (
    LD4LG,
    DecoderConfig,
    LatentConfig,
    LatentDecoder,
    LatentDenoiser,
    PerceiverConfig,
    Standardise,
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
    stored_batches,
    train_latent_denoiser,
    train_ld4lg,
)
from difflm_core.training.course import course_checkpoint

SETTINGS = {
    "encoder": "mdlm-tiny",
    "hidden_share": 0.3,
    "pretraining_steps": 1200,
    "texts": 32768,  # encoded once; bottlenecks and denoisers are trained on these
    "bottleneck_steps": 600,
    "denoiser_steps": 1000,
    "batch_size": 64,
    "width": 64,  # of decoder and bottleneck
    "layers": 2,
    "denoiser_width": 96,
    "denoiser_layers": 3,
    "bottlenecks": [[1, 16], [2, 16], [4, 16], [8, 16]],  # N latents of D_ae numbers
    "usual": [4, 16],
    "held_out": 1024,
    "samples": 500,
    "noisy_at": [0.05, 0.1, 0.2, 0.3, 0.5, 0.7],
    "step_counts": [5, 10, 25, 50, 100, 200],
    "small_step_counts": [10, 50, 200],
    "steps": 50,  # where steps are not the question
    "feature": "colour",
    "weights": [1.0, 2.0, 4.0],
}
SEEDS = (0, 1, 2)
PROCESS = GaussianProcess(ShiftedCosine(1.0))  # alpha = cos^2(pi t / 2)
NETWORKS = {"v": ("v", 0.5), "v without self-conditioning": ("v", 0.0), "x": ("x", 0.5)}  # kind, self-conditioning


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True, eq=False)
class Texts:
    """Encoded texts in memory, for `stored_batches`; label (N,) is their class."""

    h: Float[Tensor, "N L D"]
    mask: Bool[Tensor, "N L"]
    ids: Int[Tensor, "N L"]
    label: Int[Tensor, "N"]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows) -> States:
        return States(self.h[rows], self.mask[rows], self.ids[rows])


@dataclass(frozen=True, eq=False)
class Uncompressed:
    """No bottleneck: all states, standardised, are the latents, and the decoder reads them as it was taught to."""

    standardise: Standardise
    decoder: LatentDecoder

    def encode(self, h: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        return self.standardise(h)

    def context(self, latents: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        return self.standardise.inverse(latents)


@cache
def language_model() -> tuple[Transformer, LatentDecoder, float]:
    """The frozen encoder and decoder, and the last losses of their pretraining (nats per token)."""
    torch.manual_seed(0)
    encoder, _ = course_checkpoint(SETTINGS["encoder"])
    sizes = DecoderConfig(encoder.V, encoder.length, encoder.config.width, 1, SETTINGS["width"], SETTINGS["layers"])
    decoder = LatentDecoder(sizes)
    hide = corrupted(masked(encoder.V), SETTINGS["hidden_share"], seeded(10))
    texts = language_batches(toy_language(), SETTINGS["batch_size"], seeded(100))
    losses = pretrain_seq2seq(encoder, decoder, texts, hide, SETTINGS["pretraining_steps"], progress=False)
    last = losses[-50:]
    return encoder, decoder, sum(last) / len(last)


@cache
def encoded(count: int, seed: int) -> Texts:
    ids = toy_language().sample(count, generator=seeded(seed))
    parts = list(state_batches(language_model()[0], ids.split(256)))
    h, mask, ids = (torch.cat(part) for part in zip(*parts))
    return Texts(h, mask, ids, feature_value(GRAMMAR, SETTINGS["feature"], ids))


def autoencoder(N: int, D_ae: int, seed: int) -> LD4LG:
    torch.manual_seed(seed)
    encoder, decoder, _ = language_model()
    sizes = PerceiverConfig(encoder.config.width, encoder.length, N, D_ae, SETTINGS["width"], SETTINGS["layers"])
    model = LD4LG(sizes, decoder)
    batches = stored_batches(encoded(SETTINGS["texts"], 200), SETTINGS["batch_size"], seeded(300 + seed))
    train_ld4lg(model, batches, SETTINGS["bottleneck_steps"], progress=False)
    return model


def uncompressed() -> Uncompressed:
    encoder, decoder, _ = language_model()
    standardise = Standardise((encoder.config.width,), SETTINGS["encoder"])
    return Uncompressed(standardise.measure(encoded(SETTINGS["texts"], 200).h.split(1024)), decoder)


@torch.no_grad()
def latents_of(model: LD4LG | Uncompressed, texts: Texts) -> Float[Tensor, "N M D"]:
    return torch.cat([model.encode(h) for h in texts.h.split(1024)])


def denoiser(model: LD4LG | Uncompressed, kind: str, self_conditioning: float, seed: int) -> LatentDenoiser:
    """It learns with labels, so that one network serves generation with and without a class."""
    torch.manual_seed(seed)
    texts = encoded(SETTINGS["texts"], 200)
    latents, labels = latents_of(model, texts), len(GRAMMAR.features[SETTINGS["feature"]])
    sizes = (latents.shape[2], latents.shape[1], SETTINGS["denoiser_width"], SETTINGS["denoiser_layers"])
    net = LatentDenoiser(LatentConfig(*sizes, labels=labels))

    def batches():
        order = seeded(400 + seed)
        while True:
            rows = torch.randint(len(latents), (SETTINGS["batch_size"],), generator=order)
            yield latents[rows], texts.label[rows]

    train_latent_denoiser(
        net, PROCESS, batches(), SETTINGS["denoiser_steps"], kind=kind, self_conditioning=self_conditioning,
        generator=seeded(20 + seed), progress=False,
    )  # fmt: skip
    return net


def held_out() -> Texts:
    return encoded(SETTINGS["held_out"], 99)


def bottleneck(model: LD4LG | Uncompressed) -> dict:
    texts = held_out()
    latents = latents_of(model, texts)
    ways = {"own": latents, "another's": shuffled(latents, seeded(1))}
    row = {name: vars(use_of_latents(model, given, texts.ids)) for name, given in ways.items()}
    noisy = robustness(model, PROCESS, latents, texts.ids, SETTINGS["noisy_at"], generator=seeded(3))
    return row | {"bleu_of_noisy": noisy}


def judged(tokens: Int[Tensor, "B L"]) -> dict:
    return quality(tokens) | {"distinct_2": distinct_n(tokens, 2)}


@torch.no_grad()
def alone(model: LD4LG) -> dict[str, dict]:
    """What the decoder writes of latents that were not made by diffusion; `kept` are words as in the true text."""
    latents, ids = (part[: SETTINGS["samples"]] for part in (latents_of(model, held_out()), held_out().ids))
    given = {"own": latents, "random": on_sphere(torch.randn(latents.shape, generator=seeded(2)))}
    for time_ in SETTINGS["noisy_at"]:
        given[f"noisy at {time_:g}"] = PROCESS.corrupt(latents, at(time_, latents), seeded(3))
    rows = {"true texts": judged(ids) | {"kept": 1.0}}
    for name, vectors in given.items():
        tokens = write_texts(model, vectors).tokens
        rows[name] = judged(tokens) | {"kept": (tokens == ids).double().mean().item()}
    return rows


def made(model, net: LatentDenoiser, kind: str, steps: int, seed: int, step=large_step, **options) -> Tensor:
    """Tokens of texts that are drawn and written."""
    shape = (SETTINGS["samples"], net.config.length, net.config.D)
    sample = sample_latents(PROCESS, net, shape, steps, seeded(30 + seed), kind, step, **options)
    return write_texts(model, sample.x).tokens


def by_steps(model: LD4LG, net: LatentDenoiser, network: str, seed: int) -> Iterator[dict]:
    kind, self_conditioning = NETWORKS[network]
    counts = {"large": (large_step, SETTINGS["step_counts"])}
    if network == "v":
        counts["small"] = ancestral_step, SETTINGS["small_step_counts"]
    for variance, (step, step_counts) in counts.items():
        for steps in step_counts:
            tokens = made(model, net, kind, steps, seed, step, self_condition=self_conditioning > 0)
            yield {"network": network, "steps": steps, "variance": variance} | judged(tokens)


def guidance(model: LD4LG, net: LatentDenoiser, seed: int) -> Iterator[dict]:
    feature = SETTINGS["feature"]
    label = torch.arange(SETTINGS["samples"]) % len(GRAMMAR.features[feature])  # each class as often
    for weight in SETTINGS["weights"]:
        tokens = made(model, net, "v", SETTINGS["steps"], seed, label=label, weight=weight)
        asked_for = (feature_value(GRAMMAR, feature, tokens) == label).double().mean().item()
        yield {"weight": weight, "asked_for": asked_for} | judged(tokens)


def run(seed: int) -> Iterator[dict]:
    if seed == SEEDS[0]:
        yield {"what": "pretraining", "loss": language_model()[2]}
    models = {tuple(size): autoencoder(*size, seed) for size in SETTINGS["bottlenecks"]}
    for (N, D_ae), model in models.items():
        yield {"what": "bottleneck", "N": N, "D_ae": D_ae, **bottleneck(model)}
    usual = models[tuple(SETTINGS["usual"])]
    for given, row in alone(usual).items():
        yield {"what": "alone", "given": given, **row}
    for network in NETWORKS:
        net = denoiser(usual, *NETWORKS[network], seed)
        for row in by_steps(usual, net, network, seed):
            yield {"what": "generation", **row}
        if network == "v":
            for row in guidance(usual, net, seed):
                yield {"what": "guidance", **row}
    yield from by_size(models, seed)


def by_size(models: dict, seed: int) -> Iterator[dict]:
    """Generation from every bottleneck (the usual one's is among the rows by steps), and without one."""
    for (N, D_ae), model in models.items():
        if [N, D_ae] != SETTINGS["usual"]:
            tokens = made(model, denoiser(model, "v", 0.5, seed), "v", SETTINGS["steps"], seed)
            yield {"what": "size", "N": N, "D_ae": D_ae, **judged(tokens)}
    model = uncompressed()
    N, D_ae = held_out().h.shape[1:]
    yield {"what": "bottleneck", "N": N, "D_ae": D_ae, **bottleneck(model)}
    for kind in ("v", "x"):
        tokens = made(model, denoiser(model, kind, 0.5, seed), kind, SETTINGS["steps"], seed)
        yield {"what": "uncompressed", "kind": kind, "N": N, "D_ae": D_ae, **judged(tokens)}


def main() -> None:
    store.over_seeds("ld4lg", SETTINGS, SEEDS, run, told)


def told(row: dict) -> str:
    if row["what"] == "pretraining":
        return f"pretraining {row['loss']:.3f} nats per token of texts with hidden words"
    if row["what"] == "bottleneck":
        own, other = row["own"], row["another's"]
        ours = f"BLEU {own['bleu']:.3f}, exact {own['exact']:.3f}"
        return f"{row['N']} x {row['D_ae']}: {ours}; with another's BLEU {other['bleu']:.3f}"
    shown = ("N", "D_ae", "kind", "given", "network", "steps", "variance", "weight", "asked_for", "kept")
    name = ", ".join(f"{key} {row[key]:.3g}" if isinstance(row[key], float) else f"{key} {row[key]}"
                     for key in shown if key in row)  # fmt: skip
    figures = f"grammatical {row['grammatical']:.3f}, spread {row['spread']:.2f}, distinct-2 {row['distinct_2']:.3f}"
    return f"{row['what']} ({name}): {figures}"


if __name__ == "__main__":
    main()
