"""Training for TEncDM: an encoder whose states show the words, and a decoder, alone, on encodings with the diffusion's
noise (Shabalin et al. 2024, section 5.2).

A decoder that reads each state alone needs states that say which word stands there. BERT's do: of the words that its
loss asks for, one in five is visible (kept, or replaced by a random one; Devlin et al. 2019). The loss of a masked
diffusion model asks for hidden words only, and its last states lose the others. `tune_encoder` asks for all.
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from difflm_core.models import Transformer
from difflm_core.models.tencdm import TEncDM
from difflm_core.objectives.tencdm import tencdm_decoder_loss
from difflm_core.processes.gaussian import GaussianProcess
from difflm_core.training.descend import descend
from difflm_core.training.states import States


def tune_encoder(
    model: Transformer,
    batches: Iterable[Int[Tensor, "B L"]],
    corrupt: Callable[[Int[Tensor, "B L"]], Int[Tensor, "B L"]],
    steps: int = 400,
    learning_rate: float = 2e-3,
    progress: bool = True,
) -> list[float]:
    """Train a masked model to name every word of a text that it sees as `corrupt(ids)`, hidden or not; then freeze it.
    Returns the loss of every step in nats per token.

    Raises ValueError for a model that looks one way only or reads a time; else errors as `descend`.
    """
    if model.config.causal or model.uses_time:
        raise ValueError("An encoder looks both ways and reads no time: build it with causal=False and no time.")
    device = next(model.parameters()).device

    def loss(ids: Int[Tensor, "B L"]):
        ids = ids.to(device)
        return F.cross_entropy(model(corrupt(ids)).flatten(0, 1), ids.flatten())

    losses = descend(model, loss, batches, steps, learning_rate, "encoder", progress)
    model.requires_grad_(False)
    return losses


def train_tencdm_decoder(
    model: TEncDM,
    process: GaussianProcess,
    batches: Iterable[States],
    steps: int = 500,
    learning_rate: float = 2e-3,
    corrupt_up_to: float = 0.15,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> list[float]:
    """Train model.decoder in place; returns the loss of every step in nats per token. The model must have its
    statistics (`model.measure`); the process says what noise a time means. Errors as `descend`.
    """
    device = next(model.decoder.parameters()).device

    def loss(batch: States):
        h, mask, ids = (part.to(device) for part in batch)
        nats = tencdm_decoder_loss(model, process, h, mask, ids, generator, corrupt_up_to)
        return nats.sum() / mask.sum()

    return descend(model.decoder, loss, batches, steps, learning_rate, "decoder", progress)
