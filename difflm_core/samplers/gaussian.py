"""From noise to vectors: walk the times from 1 to 0 and replace x in the posterior by what the denoiser thinks it is.

One loop serves DDPM's ancestral sampling (eta = 1), DDIM (eta = 0, no fresh noise) and everything between, on all T
steps of the grid or on any subset (Song et al. 2021, Eqs. 12 and 16), and has the hooks that text needs: `clamp`
changes x_hat (Diffusion-LM's nearest embedding), `guide` changes z_s (classifier control), `keep` holds known positions
(infilling), `self_condition` shows the network its last answer (Chen et al. 2023).

The last step goes to the data, alpha = 1, whatever schedule.alpha(0) is: it returns x_hat itself, the mean of
p(x | z), without noise, as DDPM's code does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.processes.gaussian import GaussianProcess, check_eta, spread
from difflm_core.samplers.plans import check_steps


@dataclass(frozen=True)
class VectorFrame:
    """One moment of sampling: the time, the noisy vectors and what the denoiser made of them (after `clamp`)."""

    time: float
    z: Float[Tensor, "B *D"]
    x_hat: Float[Tensor, "B *D"]


@dataclass(frozen=True)
class GaussianSample:
    """`x` (B, *D); `network_calls` (B,); `trajectory`: frames of all steps and the end (z = x_hat = x), or None."""

    x: Float[Tensor, "B *D"]
    network_calls: Int[Tensor, "B"]
    trajectory: list[VectorFrame] | None = None


@torch.no_grad()
def sample_gaussian(
    process: GaussianProcess,
    denoise: Callable,
    T: int,
    shape: tuple[int, ...],
    generator: torch.Generator | None = None,
    eta: float = 1.0,
    times: Float[Tensor, "N"] | None = None,
    guide: Callable | None = None,
    clamp: Callable | None = None,
    keep: tuple[Bool[Tensor, "B ..."], Float[Tensor, "B *D"]] | None = None,
    self_condition: bool = False,
    variance: Callable | None = None,
    record: bool = False,
    device=None,
    dtype: torch.dtype | None = None,
) -> GaussianSample:
    """Draw vectors of `shape` (B, *D) with denoise(z_t, t) -> x_hat, one call per step.

    `times` are the steps to take, decreasing from 1, at most T of them (`subset(T, steps)` spreads them evenly); all of
    t = 1, (T - 1) / T, ..., 1 / T by default. `clamp(x_hat, t)` replaces x_hat. `guide(z_s, z_t, x_hat, s, t)` replaces
    z_s, after every step but the last, which has no variance to move in. `keep` = (mask, values): where mask (B, L) or
    (B, *D) holds, z is the noisy value at every time and the result is the value. With `self_condition` the call is
    denoise(z_t, t, previous x_hat or None). `variance`, as in `gaussian_nelbo`, replaces beta-tilde at eta = 1: then
    these are draws from the model that the bound is about. Times reach the hooks as (B,). Raises ValueError for T < 1,
    more times than T, times that do not fall from 1, an eta outside [0, 1], a variance with eta < 1.
    """
    check_steps(T)
    check_eta(eta)
    if variance is not None and eta != 1:
        raise ValueError(f"A variance of its own is for ancestral steps, eta = 1, got eta = {eta}.")
    times = even_times(T) if times is None else check_subset(times, T)
    z = process.prior(shape, generator, device, dtype)
    z = hold(z, keep, process, at(1.0, z), generator)
    x_hat, frames = None, [] if record else None
    for i, now in enumerate(times.tolist()):
        t = at(now, z)
        x_hat = denoise(z, t, x_hat) if self_condition else denoise(z, t)
        if clamp is not None:
            x_hat = clamp(x_hat, t)
        if record:
            frames.append(VectorFrame(now, z, x_hat))
        if i + 1 < len(times):
            s = at(times[i + 1].item(), z)
            if variance is None:
                z_s = process.step(z, x_hat, s, t, generator, eta)
            else:
                z_s = model_step(process, z, x_hat, s, t, variance, generator)
            if guide is not None:
                z_s = guide(z_s, z, x_hat, s, t)
            z = hold(z_s, keep, process, s, generator)
    x = hold(x_hat, keep)
    if record:
        frames.append(VectorFrame(0.0, x, x))
    calls = torch.full((shape[0],), len(times), dtype=torch.long, device=device)
    return GaussianSample(x, calls, frames)


def model_step(process, z_t, x_hat, s, t, variance, generator=None) -> Float[Tensor, "B *D"]:
    """Draw z_s from the posterior's mean with x_hat for x, and the variance (B,) or (B, *D) of variance(z_t, t, small,
    large).
    """
    chosen = variance(z_t, t, process.posterior_weights(s, t)[2], process.between(s, t)[1])
    chosen = spread(chosen, z_t) if chosen.ndim == 1 else chosen
    noise = torch.randn(z_t.shape, generator=generator, device=z_t.device, dtype=z_t.dtype)
    return process.posterior(z_t, x_hat, s, t)[0] + chosen.sqrt() * noise


def subset(T: int, steps: int) -> Float[Tensor, "steps"]:
    """`steps` of the times 1, (T - 1) / T, ..., 1 / T, spread evenly, the first always 1. ValueError if steps > T."""
    check_steps(steps)
    if steps > T:
        raise ValueError(f"A chain of T = {T} steps has no {steps} steps to take: ask for at most T.")
    i = torch.arange(steps, 0, -1, dtype=torch.float64)
    return (i * T / steps).ceil() / T


def even_times(T: int) -> Float[Tensor, "T"]:
    return torch.arange(T, 0, -1, dtype=torch.float64) / T


def check_subset(times: Float[Tensor, "N"], T: int) -> Float[Tensor, "N"]:
    times = torch.as_tensor(times).double().cpu()
    if len(times) > T:
        raise ValueError(f"There are {len(times)} times but the chain has only T = {T} steps: give at most T times.")
    if not len(times) or times[0] != 1 or bool((times.diff() >= 0).any()) or times[-1] <= 0:
        raise ValueError("The times of a sampler must fall from 1 and stay above 0; the last step to 0 is added.")
    return times


def at(time: float, z: Float[Tensor, "B *D"]) -> Float[Tensor, "B"]:
    return torch.full((len(z),), time, device=z.device, dtype=z.dtype)


def hold(z, keep, process=None, t=None, generator=None) -> Float[Tensor, "B *D"]:
    """z with the kept positions replaced by their values, noisy at t if a process is given."""
    if keep is None:
        return z
    mask, values = keep
    values = values.to(z)
    if process is not None:
        values = process.corrupt(values, t, generator)
    return torch.where(mask.reshape(*mask.shape, *[1] * (z.ndim - mask.ndim)).to(z.device), values, z)
