"""The four latent systems as settings that build an autoencoder, train it stage by stage, and cross it both ways.

All four share one diffusion (`latent_recipes`); they differ in the autoencoder alone:

    LD4LGTask     bottleneck between a frozen encoder and a frozen autoregressive decoder, which was pretrained first
    PlannerTask   variational codes, read as a prefix by an autoregressive decoder
    TEncDMTask    the encoder's states themselves, read off by a decoder that learned to bear noise
    CosmosTask    N latents trained to be smooth, read off all at once

A task answers `build(canvas)`, `shape(canvas)` of a text's latents, `stages(run)`, a name and a function for each step
of the training before diffusion, `encode(parts, batch)`, on the scale of diffusion, and `write(parts, latents)`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor, nn

from difflm_core.models import (
    LD4LG,
    Cosmos,
    CosmosConfig,
    DecoderConfig,
    LatentDecoder,
    PerceiverConfig,
    Planner,
    PlannerConfig,
    PrefixDecoder,
    Standardise,
    TEncDM,
    TokenDecoderConfig,
    Transformer,
    TransformerDecoder,
)
from difflm_core.models.masked_encoder import FrozenEncoder
from difflm_core.objectives.cosmos import Smoothing
from difflm_core.processes import GaussianProcess, masked
from difflm_core.samplers import Sample, ancestral_step, ddim_step, large_step, write_texts
from difflm_core.training.cosmos import train_cosmos
from difflm_core.training.interrupts import end_if
from difflm_core.training.latent_diffusion import train_latent_denoiser
from difflm_core.training.ld4lg import pretrain_decoder, pretrain_seq2seq, train_ld4lg
from difflm_core.training.planner import train_planner, train_planner_denoiser
from difflm_core.training.states import States, corrupted, hidden_states, swapped_states
from difflm_core.training.tencdm import train_tencdm_decoder, tune_encoder

MEASURED = 32  # batches that statistics of latents are taken from


@dataclass(frozen=True)
class Canvas:
    """What an autoencoder must know of its texts: V tokens, at most `length`, states of the encoder's width, the token
    that ends a text (None: none does), the names of the classes.
    """

    V: int
    length: int
    end: int | None
    labels: tuple[str, ...]
    encoder: FrozenEncoder

    @property
    def dim(self) -> int:
        return self.encoder.dim


class Parts(nn.Module):
    """Everything that is trained: the autoencoder, the denoiser, the scale of the latents where the autoencoder has
    none of its own, and the encoder where it is a small one that was tuned (None: it is frozen, and kept elsewhere).
    """

    def __init__(
        self, autoencoder: nn.Module, denoiser: nn.Module, scale: Standardise | None, encoder: Transformer | None
    ):
        super().__init__()
        self.autoencoder, self.denoiser, self.scale, self.encoder = autoencoder, denoiser, scale, encoder

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device

    def seen(self, batch: States) -> States:
        """The batch on the parts' device, with the states of the tuned encoder where there is one."""
        h, mask, ids = (part.to(self.device) for part in batch)
        if self.encoder is not None:
            with torch.no_grad():
                h = self.encoder.hidden(ids, None)
        return States(h, mask, ids)


@dataclass(frozen=True)
class Training:
    """What a stage is given. Every stage draws from generators of its own, so that it does not matter whether the
    stages before it ran in this process. A signal noted in `asked` ends the stage at its next batch.
    """

    parts: Parts
    source: object
    process: GaussianProcess
    batch_size: int
    seed: int
    progress: bool = True
    asked: Sequence[int] = ()

    def generator(self, use: int, device: torch.device | None = None) -> torch.Generator:
        return torch.Generator(device or "cpu").manual_seed(1000 * self.seed + use)

    def noise(self, use: int) -> torch.Generator:
        return self.generator(use, self.parts.device)

    def read(self, use: int) -> Iterator[tuple[States, Tensor | None]]:
        """The source's batches: (texts with their states, class)."""
        for batch in self.source.batches(self.batch_size, self.generator(use)):
            end_if(self.asked)
            yield batch

    def batches(self, use: int) -> Iterator[States]:
        """Training texts with their states."""
        for batch, _ in self.read(use):
            yield self.parts.seen(batch)

    def texts(self, use: int) -> Iterator[Tensor]:
        for batch, _ in self.read(use):
            yield batch.ids

    def latents(self, task, use: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """(latents on the scale of diffusion, class) of training texts."""
        for batch, label in self.read(use):
            with torch.no_grad():
                x = task.encode(self.parts, self.parts.seen(batch))
            yield x, label


Stages = dict[str, Callable[[Training], list[float]]]


@dataclass(frozen=True)
class DenoiserTraining:
    """The last stage: `steps` on latents of the frozen autoencoder. `ema` is the decay of the averaged weights, which
    are kept.
    """

    steps: int = 2000
    learning_rate: float = 2e-3
    label_dropout: float = 0.1
    ema: float = 0.99


@dataclass(frozen=True)
class LD4LGTask:
    """LD4LG (Lovelace et al. 2023). First the decoder learns to write clean texts from states of which the share
    `hidden` is set to 0; with `tune_encoder` a small encoder learns with it, on texts with masks. Then both are frozen.

    BART's encoder reads corrupted texts. A pretrained encoder is slow on a CPU, so its stored states of clean texts are
    hidden instead.
    """

    N: int = 4
    D_ae: int = 16
    width: int = 64
    layers: int = 2
    heads: int = 4
    norm_constraint: bool = True
    tune_encoder: bool = True
    hidden: float = 0.3
    pretraining_steps: int = 1500
    steps: int = 1000
    learning_rate: float = 3e-3
    kind = "v"
    self_conditioning = 0.5
    step = staticmethod(large_step)

    def build(self, canvas: Canvas) -> tuple[LD4LG, None]:
        sizes = (self.width, self.layers, self.heads)
        decoder = LatentDecoder(DecoderConfig(canvas.V, canvas.length, canvas.dim, 1, *sizes, end=canvas.end))
        config = PerceiverConfig(canvas.dim, canvas.length, self.N, self.D_ae, *sizes, self.norm_constraint)
        return LD4LG(config, decoder), None

    def shape(self, canvas: Canvas) -> tuple[int, int]:
        return self.N, self.D_ae

    def stages(self) -> Stages:
        first = {"language model": self.language_model} if self.tune_encoder else {"decoder": self.decoder}
        return first | {"bottleneck": self.bottleneck}

    def language_model(self, run: Training) -> list[float]:
        encoder, decoder = run.parts.encoder.requires_grad_(True), run.parts.autoencoder.decoder.requires_grad_(True)
        hide = corrupted(masked(encoder.V), self.hidden, run.noise(1))
        losses = pretrain_seq2seq(
            encoder, decoder, run.texts(2), hide, self.pretraining_steps, self.learning_rate, run.progress
        )
        decoder.requires_grad_(False)
        return losses

    def decoder(self, run: Training) -> list[float]:
        decoder = run.parts.autoencoder.decoder.requires_grad_(True)
        batches = hidden_states(run.batches(2), self.hidden, run.noise(1))
        losses = pretrain_decoder(decoder, batches, self.pretraining_steps, self.learning_rate, run.progress)
        decoder.requires_grad_(False)
        return losses

    def bottleneck(self, run: Training) -> list[float]:
        return train_ld4lg(run.parts.autoencoder, run.batches(3), self.steps, self.learning_rate, run.progress)

    def encode(self, parts: Parts, batch: States) -> Float[Tensor, "B N E"]:
        return parts.autoencoder.encode(batch.h, batch.mask)

    def write(self, parts: Parts, latents: Float[Tensor, "B N E"]) -> Sample:
        return write_texts(parts.autoencoder, latents)

    def diffusion(self, run: Training, how: DenoiserTraining) -> list[float]:
        return train_denoiser(self, run, how)


@dataclass(frozen=True)
class PlannerTask:
    """PLANNER (Zhang et al. 2023). The share `swapped` of a text's states is replaced by states of other words, the
    text to be written is the clean one. `beta` belongs to `objectives.planner`'s reduction. The encoder that is trained
    stands on frozen states, where the paper fine-tunes BERT.
    """

    N: int = 4
    D_ae: int = 16
    width: int = 64
    encoder_layers: int = 1
    decoder_layers: int = 1
    heads: int = 4
    beta: float = 1e-3
    swapped: float = 0.3
    steps: int = 2000
    learning_rate: float = 3e-3
    tune_encoder = False
    kind = "x"
    self_conditioning = 0.0
    step = staticmethod(ddim_step)

    def build(self, canvas: Canvas) -> tuple[Planner, Standardise]:
        shape, sizes = (self.N, self.D_ae), (self.width, self.decoder_layers, self.heads)
        decoder = PrefixDecoder(DecoderConfig(canvas.V, canvas.length, self.D_ae, self.N, *sizes, end=canvas.end))
        config = PlannerConfig(canvas.dim, canvas.length, *shape, self.width, self.encoder_layers, self.heads)
        return Planner(config, decoder), Standardise(shape, canvas.encoder.name)

    def shape(self, canvas: Canvas) -> tuple[int, int]:
        return self.N, self.D_ae

    def stages(self) -> Stages:
        return {"paragraph embedder": self.embedder}

    def embedder(self, run: Training) -> list[float]:
        model, batches = run.parts.autoencoder, swapped_states(run.batches(1), self.swapped, run.noise(2))
        losses = train_planner(model, batches, self.beta, self.steps, self.learning_rate, run.noise(3), run.progress)
        with torch.no_grad():
            run.parts.scale.measure(model.encode(b.h, b.mask) for b in islice(run.batches(4), MEASURED))
        return losses

    def encode(self, parts: Parts, batch: States) -> Float[Tensor, "B N E"]:
        return parts.scale(parts.autoencoder.encode(batch.h, batch.mask))

    def write(self, parts: Parts, latents: Float[Tensor, "B N E"]) -> Sample:
        return write_texts(parts.autoencoder, parts.scale.inverse(latents))

    def diffusion(self, run: Training, how: DenoiserTraining) -> list[float]:
        return train_planner_denoiser(
            run.parts.denoiser, run.process, run.latents(self, 6), how.steps, how.learning_rate, how.label_dropout,
            how.ema, run.noise(5), run.progress,
        )  # fmt: skip


@dataclass(frozen=True)
class TEncDMTask:
    """TEncDM (Shabalin et al. 2024): a decoder of `layers` blocks. A small masked model is tuned first for
    `tuning_steps`, until its states show which words are there; a pretrained encoder's do (0).
    """

    width: int = 96
    layers: int = 2
    heads: int = 4
    corrupt_up_to: float = 0.15
    hidden: float = 0.3
    tuning_steps: int = 400
    steps: int = 400
    learning_rate: float = 2e-3
    kind = "x"
    self_conditioning = 0.5
    step = staticmethod(ancestral_step)

    @property
    def tune_encoder(self) -> bool:
        return self.tuning_steps > 0

    def build(self, canvas: Canvas) -> tuple[TEncDM, None]:
        sizes = TokenDecoderConfig(canvas.dim, canvas.length, canvas.V, self.width, self.layers, self.heads)
        return TEncDM(canvas.encoder, TransformerDecoder(sizes)), None

    def shape(self, canvas: Canvas) -> tuple[int, int]:
        return canvas.length, canvas.dim

    def stages(self) -> Stages:
        return ({"encoder": self.encoder} if self.tuning_steps else {}) | {"decoder": self.decoder}

    def encoder(self, run: Training) -> list[float]:
        return tuned(run, self.hidden, self.tuning_steps)

    def decoder(self, run: Training) -> list[float]:
        model = run.parts.autoencoder.measure(islice(run.batches(3), MEASURED))
        return train_tencdm_decoder(
            model, run.process, run.batches(4), self.steps, self.learning_rate, self.corrupt_up_to, run.noise(7),
            run.progress,
        )  # fmt: skip

    def encode(self, parts: Parts, batch: States) -> Float[Tensor, "B L D"]:
        return parts.autoencoder.encode(*batch)

    def write(self, parts: Parts, latents: Float[Tensor, "B L D"]) -> Sample:
        return read_off(parts.autoencoder, latents)

    def diffusion(self, run: Training, how: DenoiserTraining) -> list[float]:
        return train_denoiser(self, run, how)


@dataclass(frozen=True)
class CosmosTask:
    """COSMOS (Meshchaninov et al. 2025). D_ae 0 keeps the encoder's width, as the paper does. `tuning_steps` as for
    TEncDM.
    """

    N: int = 4
    D_ae: int = 0
    width: int = 96
    layers: int = 2
    heads: int = 4
    smoothing: Smoothing = field(default_factory=Smoothing)
    hidden: float = 0.3
    tuning_steps: int = 400
    steps: int = 1000
    learning_rate: float = 2e-3
    kind = "x"
    self_conditioning = 0.5
    step = staticmethod(ancestral_step)

    @property
    def tune_encoder(self) -> bool:
        return self.tuning_steps > 0

    def build(self, canvas: Canvas) -> tuple[Cosmos, None]:
        sizes = (canvas.dim, canvas.length, canvas.V, *self.shape(canvas), self.width, self.layers, self.heads)
        return Cosmos(CosmosConfig(*sizes), canvas.encoder.name), None

    def shape(self, canvas: Canvas) -> tuple[int, int]:
        return self.N, self.D_ae or canvas.dim

    def stages(self) -> Stages:
        return ({"encoder": self.encoder} if self.tuning_steps else {}) | {"autoencoder": self.autoencoder}

    def encoder(self, run: Training) -> list[float]:
        return tuned(run, self.hidden, self.tuning_steps)

    def autoencoder(self, run: Training) -> list[float]:
        return train_cosmos(
            run.parts.autoencoder, run.batches(3), self.steps, self.learning_rate, self.smoothing, MEASURED,
            run.noise(4), run.progress,
        )  # fmt: skip

    def encode(self, parts: Parts, batch: States) -> Float[Tensor, "B N E"]:
        return parts.autoencoder.encode(batch.h, batch.mask)

    def write(self, parts: Parts, latents: Float[Tensor, "B N E"]) -> Sample:
        return read_off(parts.autoencoder, latents)

    def diffusion(self, run: Training, how: DenoiserTraining) -> list[float]:
        return train_denoiser(self, run, how)


def tuned(run: Training, hidden: float, steps: int) -> list[float]:
    """The first stage of systems that read words off the states of a small masked model."""
    encoder = run.parts.encoder.requires_grad_(True)
    hide = corrupted(masked(encoder.V), hidden, run.noise(1))
    return tune_encoder(encoder, run.texts(2), hide, steps, progress=run.progress)


def train_denoiser(task: LD4LGTask | TEncDMTask | CosmosTask, run: Training, how: DenoiserTraining) -> list[float]:
    return train_latent_denoiser(
        run.parts.denoiser, run.process, run.latents(task, 6), how.steps, how.learning_rate, task.kind,
        task.self_conditioning, how.label_dropout, how.ema, run.noise(5), run.progress,
    )  # fmt: skip


@torch.no_grad()
def read_off(model: TEncDM | Cosmos, latents: Float[Tensor, "B N E"]) -> Sample:
    """The likeliest word at every place, in one call."""
    tokens = model.decode(latents).argmax(-1)
    return Sample(tokens, torch.ones(len(tokens), dtype=torch.long, device=tokens.device))
