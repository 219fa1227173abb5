"""DDPM's bound on -log p(x) for vectors, L_T + sum of L_{t-1} + L_0, and its simple loss (Ho et al. 2020, Eqs. 5, 14).

    L_T     = KL(q(z_1 | x) || N(0, I))                       what the noise still knows; nothing to learn
    L_{t-1} = E_{z_t} KL(q(z_s | z_t, x) || p(z_s | z_t))     one reverse step, from t to the s before it
    L_0     = E_{z_{t_1}} -log p(x | z_{t_1})                 the last step, back to the data

p(z_s | z_t) has the posterior's mean with x_hat(z_t, t) in the place of x, and a variance of choice: a function
variance(z_t, t, small, large), where `small` is beta-tilde, the posterior's, and `large` is beta (both in
`gaussian_variance.py`, with what they cost). For vectors, unlike for pixels in bins or tokens, L_0 is a density,
-log N(x; x_hat, variance), and may be negative. There beta-tilde is 0: a data point is known exactly once x is. With
`fixed_large`, the default, the variance of L_0 is beta_1 = 1 - alpha_{t_1}. This is Var[x | z] if x ~ N(0, 1), and
close to it for every smooth density once 1 - alpha_{t_1} is small, which is why the bound of the exact denoiser goes to
-log p(x) as T grows.

The latents sit at the T times i / T of DDPM's grid, or at any increasing times ending in 1. The data counts as
alpha = 1 even where schedule.alpha(0) < 1. A smaller T is another model with its own, looser bound. All results are in
nats per dimension, already weighted.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.objectives.gaussian_variance import Variance, fixed_large
from difflm_core.processes.gaussian import GaussianProcess, Kind, spread
from difflm_core.processes.schedules import check_times

VectorDenoiser = Callable[..., Float[Tensor, "B *D"]]  # (z_t (B, *D), t (B,)) -> x_hat

LARGE_PRIOR = 0.01  # nats per dimension of L_T above which a schedule is said not to reach noise


@dataclass(frozen=True)
class GaussianParts:
    """Nats per dimension, averaged over the dimensions of each row: `prior` L_T (B,); `steps` (T - 1, B), steps[i] for
    the step from times[i + 1] to times[i]; `reconstruction` L_0 (B,), negative where the density is above 1.
    """

    prior: Float[Tensor, "B"]
    steps: Float[Tensor, "T-1 B"]
    reconstruction: Float[Tensor, "B"]

    @property
    def nelbo(self) -> Float[Tensor, "B"]:
        return self.prior + self.steps.sum(0) + self.reconstruction

    @property
    def bits(self) -> Float[Tensor, "B"]:
        """The bound in bits per dimension."""
        return self.nelbo / math.log(2)


def gaussian_mse(
    process: GaussianProcess, net: Callable, x: Float[Tensor, "B *D"], t: Float[Tensor, "B"], kind: Kind = "x",
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B *D"]:  # fmt: skip
    """L_simple: the squared error of net(z_t, t) against what a network of this kind should answer; no weights (Eq. 14
    has kind = "eps").

    The kind is itself a weight: the eps error is SNR times the x error, the v error 1 + SNR times.
    """
    z_t = process.corrupt(x, t, generator)
    return (net(z_t, t) - process.from_x(z_t, x, t, kind)) ** 2


def gaussian_nelbo(
    process: GaussianProcess, denoise: VectorDenoiser, x: Float[Tensor, "B *D"], t: Float[Tensor, "B"],
    T: int | Float[Tensor, "T"], generator: torch.Generator | None = None, variance: Variance = fixed_large,
) -> Float[Tensor, "B *D"]:  # fmt: skip
    """One-sample estimate: L_T + T times the term of one step, the one that t ~ U(0, 1) falls into.

    T is the number of steps, or the times of the latents. `denoise` answers x_hat: `process.denoiser(net, kind)` makes
    one of a network. Raises ValueError for T < 1 or times that do not rise to 1.
    """
    check_times(t)
    times = latent_times(T).to(t.device)
    step = (t.double() * len(times)).ceil().long().clamp(1, len(times)) - 1
    z_t = process.corrupt(x, times[step], generator)
    x_hat = denoise(z_t, times[step].to(t.dtype))
    return gaussian_prior(process, x) + len(times) * reverse_term(process, x, x_hat, z_t, times, step, variance)


@torch.no_grad()
def gaussian_parts(
    process: GaussianProcess, denoise: VectorDenoiser, x: Float[Tensor, "B *D"], T: int | Float[Tensor, "T"],
    generator: torch.Generator | None = None, variance: Variance = fixed_large,
) -> GaussianParts:  # fmt: skip
    """Every part of the bound, with one draw of z_t for each of the T steps: T network calls, and no chance in t."""
    times, terms = latent_times(T).to(x.device), []
    for i in range(len(times)):
        step = torch.full((len(x),), i, device=x.device)
        z_t = process.corrupt(x, times[step], generator)
        x_hat = denoise(z_t, times[step].to(x.dtype))
        terms.append(reverse_term(process, x, x_hat, z_t, times, step, variance).flatten(1).mean(1))
    prior = gaussian_prior(process, x).flatten(1).mean(1)
    return GaussianParts(prior, torch.stack(terms[1:]) if terms[1:] else prior.new_zeros(0, len(x)), terms[0])


def reverse_term(process, x, x_hat, z_t, times, step, variance) -> Float[Tensor, "B *D"]:
    """L_0 in rows of step 0, else the KL divergence of two normal laws from times[step] to times[step - 1].

    Their means differ by a (x - x_hat), with a the posterior's weight of x.
    """
    t = times[step]
    s = torch.where(step > 0, times[step - 1], 0.0)
    weight, _, small = process.posterior_weights(s, t)
    large = process.between(s, t)[1]
    first = step == 0  # the data counts as alpha = 1, whatever the schedule says at t = 0
    weight, small = torch.where(first, 1.0, weight), torch.where(first, 0.0, small)
    large = torch.where(first, 1 - process.alpha(t), large)
    chosen = variance(z_t, t, small, large)
    chosen = spread(chosen, x) if chosen.ndim == 1 else chosen
    off = (spread(weight, x) * (x - x_hat)) ** 2
    small, first = spread(small, x), spread(first, x).bool()
    kl = 0.5 * ((chosen / torch.where(first, 1.0, small)).log() + (small + off) / chosen - 1)
    return torch.where(first, 0.5 * ((2 * math.pi * chosen).log() + off / chosen), kl)


def gaussian_prior(process: GaussianProcess, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
    """L_T = KL(N(sqrt(alpha_1) x, 1 - alpha_1) || N(0, 1)). Warns where its mean is above 0.01 nats per dimension:
    sampling starts from pure noise, so that such a schedule is trained on one thing and sampled from another.
    """
    alpha = spread(process.alpha(torch.ones(len(x), device=x.device)), x)
    prior = 0.5 * (alpha * (x**2 - 1) - torch.log1p(-alpha))
    if x.device.type == "cpu" and len(x) and (value := prior.detach().mean().item()) > LARGE_PRIOR:
        warnings.warn(
            f"The schedule does not reach noise: L_T is {value:.3g} nats per dimension (alpha at t = 1 is "
            f"{alpha.max().item():.3g}); use a schedule that ends lower, or scale the data down.",
            stacklevel=3,
        )
    return prior


def latent_times(T: int | Float[Tensor, "T"]) -> Float[Tensor, "T"]:
    """The times of the latents, increasing, float64: i / T for a number, or the given times after a check."""
    if isinstance(T, int):
        if T < 1:
            raise ValueError(f"A chain needs at least one step, got T = {T}.")
        return torch.arange(1, T + 1, dtype=torch.float64) / T
    times = torch.as_tensor(T).double()
    if times.ndim != 1 or not len(times) or times[0] <= 0 or times[-1] != 1 or bool((times.diff() <= 0).any()):
        raise ValueError("The times of the latents must rise from above 0 to 1, and end there.")
    return times
