"""Self-conditioning: a denoiser that may read its own previous estimate of the clean vectors (Chen, Zhang & Hinton
2022, "Analog Bits", section 2).

When sampling, the previous estimate is there for free: it is the answer of the step before. When training there is no
step before, so the network is asked twice at the same z_t and t: once with nothing, and then with its own first answer,
taken as a constant (no gradient goes through it). Half of the batches are trained with nothing, since every sampling
run starts so. The two differ: in training the estimate comes from the same t, in sampling from a noisier one.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Net = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def self_conditioned(
    net: Net,
    z_t: Float[Tensor, "B *D"],
    t: Float[Tensor, "B"],
    generator: torch.Generator | None = None,
    probability: float = 0.5,
    to_x: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> Float[Tensor, "B *D"]:
    """The prediction to train on: with `probability` that of the second pass, else that of a pass with nothing.

    One coin for the whole batch, as in the released code of LD4LG, TEncDM and COSMOS: the second pass then costs
    nothing where it is not wanted (17 % more work if a backward pass costs two forward ones; a coin per row would cost
    33 %). `to_x(z_t, prediction, t)` turns a prediction of noise or v into clean vectors; None: the network predicts
    them already. Probability 1 or 0 gives the two modes of evaluation, which are two different numbers.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability is a share of batches, in [0, 1], got {probability}.")
    if float(torch.rand(1, generator=generator, device=z_t.device)) >= probability:
        return net(z_t, t, None)
    with torch.no_grad():
        first = net(z_t, t, None)
        estimate = first if to_x is None else to_x(z_t, first, t)
    return net(z_t, t, estimate)
