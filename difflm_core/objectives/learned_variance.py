"""Learned variance: let the network say where between beta-tilde and beta each step lies (Nichol & Dhariwal 2021, 3.1).

    log variance = v log beta + (1 - v) log beta-tilde,    v = (o + 1) / 2

It is the logarithm that is interpolated. o, a second output of the network with one number per coordinate, is meant to
lie in [-1, 1], but nothing holds it there. L_simple says nothing about o, so the hybrid loss adds a little of the
bound, in which the mean is held fixed: the bound's large, noisy weights teach the variance alone.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.objectives.gaussian import latent_times, reverse_term
from difflm_core.objectives.gaussian_variance import Variance, clipped
from difflm_core.processes.gaussian import GaussianProcess, Kind, spread
from difflm_core.processes.schedules import check_times

TwoHeaded = Callable[..., tuple[Tensor, Tensor]]  # (z_t, t) -> prediction of its kind, o; both (B, *D)


def interpolated(o: Float[Tensor, "B *D"], small: Float[Tensor, "B"], large: Float[Tensor, "B"]) -> Tensor:
    """The variance that an output o means: beta-tilde at -1, beta at 1 (L_0, where beta-tilde is 0: see `clipped`)."""
    v = (o + 1) / 2
    log_small, log_large = (spread(level.log(), o) for level in (clipped(small, large), large))
    return (v * log_large + (1 - v) * log_small).exp()


def learned(net: TwoHeaded) -> Variance:
    """A trained network's variance for `gaussian_nelbo`, `gaussian_parts` and `sample_gaussian`. A call of its own:
    evaluation pays for two calls a step.
    """

    def variance(z_t, t, small, large):
        return interpolated(net(z_t, t.to(z_t.dtype))[1], small, large)

    return variance


def gaussian_hybrid_loss(
    process: GaussianProcess, net: TwoHeaded, x: Float[Tensor, "B *D"], t: Float[Tensor, "B"],
    T: int | Float[Tensor, "T"], kind: Kind = "eps", lam: float = 0.001, generator: torch.Generator | None = None,
) -> Float[Tensor, "B *D"]:  # fmt: skip
    """L_simple + lam L_vlb at the step that t ~ U(0, 1) falls into; L_vlb is T times the term of that step, in nats,
    with a stop-gradient on the mean, without L_T. For training: report `gaussian_nelbo`.

    The released code writes T / 1000 in the place of lam T, which is lam = 0.001.
    """
    check_times(t)
    if not lam >= 0:
        raise ValueError(f"lam weighs a loss and must be at least 0, got {lam}.")
    times = latent_times(T).to(t.device)
    step = (t.double() * len(times)).ceil().long().clamp(1, len(times)) - 1
    now = times[step]
    z_t = process.corrupt(x, now, generator)
    prediction, o = net(z_t, now.to(t.dtype))
    simple = (prediction - process.from_x(z_t, x, now, kind)) ** 2
    x_hat = process.to_x(z_t, prediction, now, kind).detach()

    def variance(z_t, t, small, large):
        return interpolated(o, small, large)

    return simple + lam * len(times) * reverse_term(process, x, x_hat, z_t, times, step, variance)
