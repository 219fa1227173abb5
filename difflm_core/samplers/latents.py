"""Sampling latents: three ways to step, self-conditioning carried along, classes by classifier-free guidance.

    ancestral_step   draw z_s from q(z_s | z_t, x_hat): exact for the given x_hat, however long the step
    ddim_step        the same marginals without fresh noise
    euler_step()     Euler-Maruyama on the reverse SDE, as TEncDM and COSMOS release it: exact only as steps go to 0

The reverse SDE of the variance-preserving process, walked from t to s (Song et al. 2021b, Eq. 6), is

    z_s = z_t + (t - s) beta (z_t / 2 + score) + sqrt((t - s) beta) eps,    beta = -alpha'_t / alpha_t,

with score = (sqrt(alpha_t) x_hat - z_t) / (1 - alpha_t) by Tweedie. On the tan-d schedule beta has no bound at t = 1:
TEncDM's released code reads it at 0.95 from there on.

Guidance mixes the answers with and without the class, x_hat = (1 - w) x_none + w x_class: w = 1 is the conditional
model, w > 1 moves away from what every class has. All kinds of prediction give the same mix, since x is affine in each
of them. Both answers read the same previous estimate, the mixed one.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.objectives.latent import with_label
from difflm_core.processes.gaussian import GaussianProcess, Kind, check_kind, spread
from difflm_core.samplers.gaussian import GaussianSample, VectorFrame, at
from difflm_core.samplers.plans import check_steps

Step = Callable[..., Float[Tensor, "B *D"]]  # (process, z_t, x_hat, s, t, generator) -> z_s


def ancestral_step(process, z_t, x_hat, s, t, generator=None) -> Float[Tensor, "B *D"]:
    return process.step(z_t, x_hat, s, t, generator)


def ddim_step(process, z_t, x_hat, s, t, generator=None) -> Float[Tensor, "B *D"]:
    return process.step(z_t, x_hat, s, t, generator, eta=0.0)


def euler_step(clip: float = 0.95) -> Step:
    """Euler-Maruyama on the reverse SDE; beta is read at min(t, clip). Raises ValueError for clip outside (0, 1)."""
    if not 0 < clip < 1:
        raise ValueError(f"beta is read at times up to clip, inside (0, 1), got {clip}.")

    def step(process, z_t, x_hat, s, t, generator=None):
        beta, span = spread(rate(process, t.clamp(max=clip)), z_t), spread(t - s, z_t)
        signal, noise = process.levels(t, z_t)
        score = (signal * x_hat - z_t) / noise**2
        fresh = torch.randn(z_t.shape, generator=generator, device=z_t.device, dtype=z_t.dtype)
        return z_t + span * beta * (z_t / 2 + score) + (span * beta).sqrt() * fresh

    return step


def rate(process: GaussianProcess, t: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """beta(t) = -alpha'_t / alpha_t, float64: the speed at which variance comes in."""
    return -process.schedule.dalpha(t.double()) / process.alpha(t)


@torch.no_grad()
def sample_latents(
    process: GaussianProcess,
    net: Callable,
    shape: tuple[int, ...],
    steps: int = 50,
    generator: torch.Generator | None = None,
    kind: Kind = "x",
    step: Step = ancestral_step,
    last: float | None = None,
    self_condition: bool = True,
    label: Int[Tensor, "B"] | None = None,
    weight: float = 1.0,
    record: bool = False,
    device=None,
    dtype: torch.dtype | None = None,
) -> GaussianSample:
    """Draw latents of `shape` (B, N, D) with net(z_t, t, previous[, label]) at `steps` even times from 1 to `last`
    (TEncDM: 0.01, COSMOS: 0.05; default 1 / steps). The answer x_hat at `last` is the sample, without noise.

    With `self_condition` the network reads its last estimate, else None at every step. With a `label` (B,) and weight
    other than 1, each step asks twice, with the class and with `net.null_label`; `network_calls` counts both. Raises
    ValueError for steps < 1 and a `last` outside (0, 1], or 1 with several steps.
    """
    check_kind(kind)
    times, guided = even_fall(steps, last), label is not None and weight != 1
    known = with_label(net, label)
    unknown = with_label(net, torch.full_like(label, net.null_label)) if guided else None

    def estimate(z, t, previous):
        x_hat = process.to_x(z, known(z, t, previous), t, kind)
        if not guided:
            return x_hat
        return torch.lerp(process.to_x(z, unknown(z, t, previous), t, kind), x_hat, weight)

    z, x_hat, frames = process.prior(shape, generator, device, dtype), None, [] if record else None
    for now, following in zip(times, [*times[1:], None]):
        t = at(now, z)
        x_hat = estimate(z, t, x_hat if self_condition else None)
        if record:
            frames.append(VectorFrame(now, z, x_hat))
        if following is not None:
            z = step(process, z, x_hat, at(following, z), t, generator)
    if record:
        frames.append(VectorFrame(0.0, x_hat, x_hat))
    calls = torch.full((shape[0],), (1 + guided) * steps, dtype=torch.long, device=device)
    return GaussianSample(x_hat, calls, frames)


def even_fall(steps: int, last: float | None = None) -> list[float]:
    """`steps` even times that fall from 1 to `last`."""
    check_steps(steps)
    last = 1 / steps if last is None else last
    if not 0 < last <= 1 or (last == 1) != (steps == 1):
        raise ValueError(
            f"{steps} steps cannot fall from 1 to {last}: `last` lies inside (0, 1), and is 1 for a single step."
        )
    return torch.linspace(1, last, steps, dtype=torch.float64).tolist()


def magnitudes(sample: GaussianSample) -> Float[Tensor, "T"]:
    """Mean square of x_hat at every recorded step, in the order of sampling. Standardised data has 1; with
    self-conditioning and more steps an estimate may pass it (TEncDM, Fig. 3). Raises ValueError without a record.
    """
    if sample.trajectory is None:
        raise ValueError("This sample has no trajectory: draw it with record=True.")
    return torch.stack([frame.x_hat.square().mean() for frame in sample.trajectory[:-1]])
