"""Training COSMOS's autoencoder: statistics of the states, then the autoencoder, then statistics of its latents."""

from collections.abc import Iterable, Iterator
from itertools import islice

import torch

from difflm_core.models.cosmos import Cosmos
from difflm_core.objectives.cosmos import STAGES, Smoothing, cosmos_loss
from difflm_core.training.descend import descend
from difflm_core.training.states import States


def train_cosmos(
    model: Cosmos,
    batches: Iterable[States],
    steps: int = 1000,
    learning_rate: float = 2e-3,
    smoothing: Smoothing = STAGES["+ masked latents"],
    measured: int = 32,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> list[float]:
    """Train the model in place; returns the loss of every step: CE in nats per token plus the weighted squared error.

    `measured` batches before, and as many after the `steps`, are read for the statistics. Errors as `descend`.
    """
    device, source = next(model.parameters()).device, iter(batches)

    def some() -> Iterator[States]:
        return (States(*(part.to(device) for part in batch)) for batch in islice(source, measured))

    def loss(batch: States):
        h, mask, ids = (part.to(device) for part in batch)
        return cosmos_loss(model, h, mask, ids, smoothing, generator).total.sum() / mask.sum()

    model.measure_features(some())
    losses = descend(model, loss, source, steps, learning_rate, "autoencoder", progress)
    with torch.no_grad():
        model.measure_latents(some())
    return losses
