"""Training LD4LG's autoencoder in its two stages: first a language model that mends texts, then, with the model frozen,
the bottleneck between its encoder and its decoder.

The first stage trains both halves (BART, `pretrain_seq2seq`), or the decoder alone if the encoder is a pretrained one
that stays as it is (`pretrain_decoder`). A masked language model makes a poor half: its loss never looks at the states
of words that are there, and which word it is can be read off them only with effort.
"""

from collections.abc import Callable, Iterable

from jaxtyping import Int
from torch import Tensor, nn

from difflm_core.models import LD4LG, LatentDecoder, Transformer
from difflm_core.objectives import denoising_loss, ld4lg_loss
from difflm_core.training.descend import descend
from difflm_core.training.states import States


def pretrain_seq2seq(
    encoder: Transformer,
    decoder: LatentDecoder,
    batches: Iterable[Int[Tensor, "B L"]],
    corrupt: Callable[[Int[Tensor, "B L"]], Int[Tensor, "B L"]],
    steps: int = 500,
    learning_rate: float = 3e-3,
    progress: bool = True,
) -> list[float]:
    """Teach encoder and decoder together to mend `corrupt(ids)` (Lewis et al. 2020), on texts without padding; the
    encoder is frozen afterwards. Returns the loss of every step in nats per token.

    Raises ValueError for an encoder that looks one way only or reads a time; else errors as `descend`.
    """
    if encoder.config.causal or encoder.uses_time:
        raise ValueError("An encoder looks both ways and reads no time: build it with causal=False and no time.")
    device = next(decoder.parameters()).device

    def loss(ids: Int[Tensor, "B L"]):
        ids = ids.to(device)
        return denoising_loss(decoder, encoder.hidden(corrupt(ids)), ids).sum() / ids.numel()

    losses = descend(nn.ModuleList([encoder, decoder]), loss, batches, steps, learning_rate, "seq2seq", progress)
    encoder.requires_grad_(False)
    return losses


def pretrain_decoder(
    decoder: LatentDecoder,
    batches: Iterable[States],
    steps: int = 500,
    learning_rate: float = 3e-3,
    progress: bool = True,
) -> list[float]:
    """Teach the decoder to write clean texts from a frozen encoder's states of corrupted ones; returns the loss of
    every step in nats per token. Errors as `descend`.
    """

    device = next(decoder.parameters()).device

    def loss(batch: States):
        h, mask, ids = (part.to(device) for part in batch)
        return denoising_loss(decoder, h, ids, mask).sum() / mask.sum()

    return descend(decoder, loss, batches, steps, learning_rate, "decoder", progress)


def train_ld4lg(
    model: LD4LG, batches: Iterable[States], steps: int = 500, learning_rate: float = 3e-3, progress: bool = True
) -> list[float]:
    """Teach resampler and reconstruction on the states of clean texts; the decoder is not touched. Returns the loss of
    every step in nats per token. Errors as `descend`.
    """

    device = next(model.parameters()).device

    def loss(batch: States):
        h, mask, ids = (part.to(device) for part in batch)
        return ld4lg_loss(model, h, ids, mask).sum() / mask.sum()

    return descend(model, loss, batches, steps, learning_rate, "bottleneck", progress)
