"""The exact likelihood of a masked model that writes in a deterministic order (DUEL, arXiv 2603.01367).

The bound of masked diffusion averages over random orders. A sampler whose order follows from the page alone (see
`samplers.orders`) has one path to each text, and the chain rule along it is no bound:

    log p(x) = sum over calls of  sum over the positions revealed in it of  log p(x_i | z).

Different orders are different models: a sampler's own likelihood tells which order suits the network. For the exact
denoiser they all agree, as long as one position is revealed per call.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.samplers.orders import OrderRule, look


@torch.no_grad()
def order_nll(
    denoiser: Denoiser, x: Int[Tensor, "B L"], rule: OrderRule, given: Bool[Tensor, "B L"] | None = None
) -> Float[Tensor, "B L"]:
    """-log p(x) under `sample_in_order(denoiser, rule, ...)`, in nats at the position where they are paid: sum over L
    for the text. As many network calls as the sampler makes.

    `given` marks positions that are known from the start (a prompt): they cost 0, and the sum is -log p(rest | given).
    Exact for the numbers that this machine computes: where two positions are nearly tied, another batch size or device
    may round otherwise and take the other path.
    """
    if x.ndim != 2 or x.numel() and not 0 <= int(x.min()) <= int(x.max()) < denoiser.V:
        raise ValueError(f"order_nll needs clean texts (B, L) with ids in 0..{denoiser.V - 1}, got {tuple(x.shape)}.")
    if given is not None and given.shape != x.shape:
        raise ValueError(f"given marks known positions of x, shaped {tuple(x.shape)}, but is {tuple(given.shape)}.")
    z = torch.full_like(x, denoiser.V) if given is None else torch.where(given, x, denoiser.V)
    nll: Tensor | None = None
    while bool((live := (z == denoiser.V).any(1)).any()):
        rows = live.nonzero()[:, 0]
        chosen, log_p = look(denoiser, rule, z[rows])
        paid = -log_p.gather(1, x[rows][chosen][:, None])[:, 0]
        nll = torch.zeros(x.shape, dtype=paid.dtype, device=x.device) if nll is None else nll
        nll[rows] = nll[rows].masked_scatter(chosen, paid)
        z[rows] = torch.where(chosen, x[rows], z[rows])
    return torch.zeros(x.shape, device=x.device) if nll is None else nll
