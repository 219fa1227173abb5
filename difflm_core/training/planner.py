"""Training PLANNER: the paragraph embedder, encoder and decoder at once with the codes drawn anew at every step; then
diffusion on the means of its codes.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from difflm_core.models import Planner
from difflm_core.objectives import planner_diffusion_loss, planner_loss, stratified_times
from difflm_core.processes import GaussianProcess
from difflm_core.training.descend import descend
from difflm_core.training.states import States

EARLIEST, LATEST = 0.0005, 0.9995  # the times that the released code trains on


def train_planner(
    model: Planner,
    batches: Iterable[States],
    beta: float = 1e-3,
    steps: int = 1000,
    learning_rate: float = 3e-3,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> list[float]:
    """Batches hold the states of corrupted texts and the ids of the clean ones. Returns `beta_loss` of every step, in
    whose reduction beta = 1 / tokens is the bound (`objectives.planner`). Errors as `descend`.
    """
    device = next(model.parameters()).device

    def loss(batch: States):
        h, mask, ids = (part.to(device) for part in batch)
        return planner_loss(model, h, ids, mask, generator).beta_loss(beta)

    return descend(model, loss, batches, steps, learning_rate, "paragraph embedder", progress)


def train_planner_denoiser(
    net: nn.Module,
    process: GaussianProcess,
    batches: Iterable[tuple[Float[Tensor, "B N E"], Int[Tensor, "B"] | None]],
    steps: int = 1000,
    learning_rate: float = 2e-3,
    label_dropout: float = 0.1,
    ema: float = 0.99,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> list[float]:
    """Train net(z_t, t, previous[, label]) in place on pairs (standardised means of codes, label (B,) or None), with
    PLANNER's weight alpha_t and without self-conditioning. The net ends as the moving average of its weights (`ema` 0:
    as it is). Returns the loss of every step. Errors as `train_latent_denoiser`.
    """
    device = next(net.parameters()).device

    def loss(batch) -> Float[Tensor, ""]:
        x, label = (None if part is None else part.detach().to(device) for part in batch)
        t = EARLIEST + (LATEST - EARLIEST) * stratified_times(len(x), generator, device)
        return planner_diffusion_loss(process, net, x, t, generator, label, label_dropout).mean()

    return descend(net, loss, batches, steps, learning_rate, "denoiser of codes", progress, ema)
