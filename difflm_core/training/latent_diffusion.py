"""Training a denoiser on the latents of a frozen autoencoder."""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from difflm_core.objectives.latent import latent_loss
from difflm_core.objectives.times import stratified_times
from difflm_core.processes.gaussian import GaussianProcess, Kind
from difflm_core.training.descend import descend


def train_latent_denoiser(
    net: nn.Module,
    process: GaussianProcess,
    batches: Iterable[tuple[Float[Tensor, "B N D"], Int[Tensor, "B"] | None]],
    steps: int = 1000,
    learning_rate: float = 2e-3,
    kind: Kind = "x",
    self_conditioning: float = 0.5,
    label_dropout: float = 0.1,
    ema: float = 0.99,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> list[float]:
    """Train net(z_t, t, previous[, label]) in place on pairs (standardised latents (B, N, D), label (B,) or None), one
    stratified time per text. The net ends as the moving average of its weights (`ema` 0: as it is). Returns the loss of
    every step, squared error per number.

    Raises ValueError for an ema outside [0, 1) and if the batches run out; `TrainingStopped` as `descend`.
    """
    device = next(net.parameters()).device

    def loss(batch) -> Float[Tensor, ""]:
        x, label = (None if part is None else part.detach().to(device) for part in batch)
        t = stratified_times(len(x), generator, device)
        return latent_loss(process, net, x, t, kind, generator, self_conditioning, label, label_dropout).mean()

    return descend(net, loss, batches, steps, learning_rate, "latent denoiser", progress, ema)
