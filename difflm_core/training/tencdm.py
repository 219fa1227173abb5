"""Training TEncDM's decoder: alone, on encodings with the diffusion's noise (Shabalin et al. 2024, section 5.2)."""

from collections.abc import Iterable

import torch

from difflm_core.models.tencdm import TEncDM
from difflm_core.objectives.tencdm import tencdm_decoder_loss
from difflm_core.processes.gaussian import GaussianProcess
from difflm_core.training.descend import descend
from difflm_core.training.states import States


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
