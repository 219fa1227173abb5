"""The loss of diffusion on latents: squared error with self-conditioning, for a network that may know classes.

TEncDM and COSMOS predict x, the clean latents, without weights (TEncDM Eq. 1); LD4LG predicts v on its small latents.
Which coordinates are which is no business of this loss: latents come standardised.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models.self_conditioning import self_conditioned
from difflm_core.processes.gaussian import GaussianProcess, Kind


def latent_loss(
    process: GaussianProcess,
    net: Callable,
    x: Float[Tensor, "B N D"],
    t: Float[Tensor, "B"],
    kind: Kind = "x",
    generator: torch.Generator | None = None,
    self_conditioning: float = 0.5,
    label: Int[Tensor, "B"] | None = None,
    label_dropout: float = 0.1,
) -> Float[Tensor, "B N D"]:
    """Squared error of net(z_t, t, previous[, label]) against what a network of this kind should answer, per number.

    `self_conditioning` is the share of batches that see the network's own first estimate (0: never). With `label`, each
    row is shown `net.null_label` instead with probability `label_dropout`, so that one network learns p(x | class) and
    p(x). Raises ValueError for shares outside [0, 1].
    """
    z_t = process.corrupt(x, t, generator)
    known = with_label(net, None if label is None else drop_labels(label, net.null_label, label_dropout, generator))
    prediction = self_conditioned(
        known, z_t, t, generator, self_conditioning, lambda z, answer, t: process.to_x(z, answer, t, kind)
    )
    return (prediction - process.from_x(z_t, x, t, kind)) ** 2


def with_label(net: Callable, label: Int[Tensor, "B"] | None) -> Callable:
    """net(z_t, t, previous) with the class filled in; None: a network that is not told of classes."""
    if label is None:
        return net
    return lambda z_t, t, previous=None: net(z_t, t, previous, label)


def drop_labels(
    label: Int[Tensor, "B"], null: int, probability: float, generator: torch.Generator | None = None
) -> Int[Tensor, "B"]:
    """Each label replaced by `null` with the given probability (Ho & Salimans 2022, Alg. 1)."""
    if not 0 <= probability <= 1:
        raise ValueError(f"label_dropout is a share of rows, in [0, 1], got {probability}.")
    dropped = torch.rand(label.shape, generator=generator, device=label.device) < probability
    return torch.where(dropped, null, label)
