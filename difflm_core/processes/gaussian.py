"""Noise on vectors: z_t = sqrt(alpha_t) x + sqrt(1 - alpha_t) eps, the variance-preserving process of DDPM.

alpha_t is the squared signal level (DDPM's alpha-bar, Ho et al. 2020, Eq. 4). It is all that the process knows: between
two times s < t the ratio alpha_{t|s} = alpha_t / alpha_s takes the place of DDPM's 1 - beta, so that the same four
methods serve a chain of 1,000 steps, any subset of its steps, and continuous time. Vectors may have any shape behind
the batch: (B, D) for points, (B, L, D) for texts.

DDPM's step number i out of T is our t = i / T, and its beta_i is 1 - alpha_{t|s} with s = (i - 1) / T; its code counts
i from 0, so that index i there is step i + 1 here. Two things differ. DDPM fixes T with the betas (1e-4 to 0.02 belong
to T = 1,000), while here the curve alpha(t) is fixed and T says how finely it is walked. And DDPM's chain starts from
the data, alpha-bar_0 = 1, whatever formula made the betas; a schedule here says itself what alpha(0) is, and may start
below 1 (`Sqrt`; `Rescaled` divides alpha(0) out).

The levels are computed in float64, whatever the dtype of the vectors: 1 - alpha_t close to the data and the difference
of neighbouring alphas have few digits left in float32.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.processes.discrete import check_order
from difflm_core.processes.schedules import CosineBeta, Schedule, check_times

Kind = Literal["x", "eps", "v"]


@dataclass(frozen=True)
class GaussianProcess:
    """Gaussian noise with one schedule; every method works for vectors (B, ..., D) with times (B,)."""

    schedule: Schedule = CosineBeta()

    def levels(self, t: Float[Tensor, "B"], like: Float[Tensor, "B *D"]) -> tuple[Tensor, Tensor]:
        """(sqrt(alpha_t), sqrt(1 - alpha_t)): signal and noise, shaped to multiply `like`."""
        alpha = self.alpha(t)
        return spread(alpha.sqrt(), like), spread((1 - alpha).sqrt(), like)

    def alpha(self, t: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """The schedule's alpha_t in float64, within [0, 1]."""
        check_times(t)
        return self.schedule.alpha(t.double()).clamp(0, 1)

    def log_snr(self, t: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """log(alpha_t / (1 - alpha_t)), float64; plus or minus infinity where alpha_t is 1 or 0."""
        alpha = self.alpha(t)
        return alpha.log() - (1 - alpha).log()

    def prior(self, shape: tuple[int, ...], generator=None, device=None, dtype=None) -> Float[Tensor, "B *D"]:
        """z_1: standard normal noise."""
        return torch.randn(shape, generator=generator, device=device, dtype=dtype)

    def corrupt(self, x: Float[Tensor, "B *D"], t: Float[Tensor, "B"], generator=None) -> Float[Tensor, "B *D"]:
        """Draw z_t ~ q(z_t | x). The noise that was drawn is `to_eps(z_t, x, t)`."""
        signal, noise = self.levels(t, x)
        return signal * x + noise * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)

    def between(self, s: Float[Tensor, "B"], t: Float[Tensor, "B"]) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
        """(alpha_{t|s}, 1 - alpha_{t|s}): squared signal and noise variance of the jump from s to t. DDPM writes
        1 - beta_t and beta_t for neighbours. Between two times of pure noise the noise counts as new: (0, 1).
        """
        check_order(s, t)
        alpha_s, alpha_t = self.alpha(s), self.alpha(t)
        at_least = alpha_s.clamp_min(tiny(alpha_s))
        return alpha_t / at_least, torch.where(alpha_s > 0, (alpha_s - alpha_t) / at_least, 1.0)

    def posterior_weights(self, s: Float[Tensor, "B"], t: Float[Tensor, "B"]) -> tuple[Tensor, Tensor, Tensor]:
        """(a, b, variance), each (B,) and float64, of q(z_s | z_t, x) = N(a x + b z_t, variance)."""
        ratio, jump = self.between(s, t)
        alpha_s, alpha_t = self.alpha(s), self.alpha(t)
        rest = (1 - alpha_t).clamp_min(tiny(alpha_t))
        return alpha_s.sqrt() * jump / rest, ratio.sqrt() * (1 - alpha_s) / rest, jump * (1 - alpha_s) / rest

    def posterior(
        self, z_t: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"], s: Float[Tensor, "B"], t: Float[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "B *ones"]]:
        """Mean and variance of q(z_s | z_t, x), a normal law (Ho et al. 2020, Eq. 6-7; its beta-tilde is the variance,
        the same for every coordinate).
        """
        of_x, of_z, variance = self.posterior_weights(s, t)
        return spread(of_x, x) * x + spread(of_z, x) * z_t, spread(variance, x)

    def step(
        self,
        z_t: Float[Tensor, "B *D"],
        x_hat: Float[Tensor, "B *D"],
        s: Float[Tensor, "B"],
        t: Float[Tensor, "B"],
        generator=None,
        eta: float = 1.0,
    ) -> Float[Tensor, "B *D"]:
        """From z_t to z_s with the predicted x_hat: eta = 1 draws from the posterior, eta = 0 is DDIM's deterministic
        step (Song et al. 2021, Eq. 12 and 16).

        All eta have the same marginals q(z_s | x): less fresh noise is made up for by keeping more of the old one.
        """
        check_eta(eta)
        variance = eta**2 * self.posterior_weights(s, t)[2]
        kept = spread((1 - self.alpha(s) - variance).clamp_min(0).sqrt(), z_t)
        signal, variance = self.levels(s, z_t)[0], spread(variance, z_t)
        fresh = 0.0
        if eta:
            fresh = variance.sqrt() * torch.randn(z_t.shape, generator=generator, device=z_t.device, dtype=z_t.dtype)
        return signal * x_hat + kept * self.to_eps(z_t, x_hat, t) + fresh

    def to_eps(self, z_t, x, t) -> Float[Tensor, "B *D"]:
        """The noise that turned x into z_t."""
        signal, noise = self.levels(t, z_t)
        return (z_t - signal * x) / noise.clamp_min(tiny(z_t))

    def from_x(self, z_t, x, t, kind: Kind) -> Float[Tensor, "B *D"]:
        """What a network of this kind should answer if the clean vectors are x: x itself, the noise eps, or
        v = sqrt(alpha) eps - sqrt(1 - alpha) x (Salimans & Ho 2022).
        """
        check_kind(kind)
        if kind == "x":
            return x
        eps = self.to_eps(z_t, x, t)
        if kind == "eps":
            return eps
        signal, noise = self.levels(t, z_t)
        return signal * eps - noise * x

    def to_x(self, z_t, prediction, t, kind: Kind) -> Float[Tensor, "B *D"]:
        """The clean vectors that a prediction of this kind stands for. With "eps" it divides by sqrt(alpha_t), so that
        errors grow without bound towards pure noise.
        """
        check_kind(kind)
        if kind == "x":
            return prediction
        signal, noise = self.levels(t, z_t)
        if kind == "eps":
            return (z_t - noise * prediction) / signal.clamp_min(tiny(z_t))
        return signal * z_t - noise * prediction

    def denoiser(self, net: Callable, kind: Kind) -> Callable:
        """denoise(z_t, t, previous=None) -> x_hat, from a network net(z_t, t[, previous]) that predicts this kind."""
        check_kind(kind)

        def denoise(z_t, t, previous=None):
            prediction = net(z_t, t) if previous is None else net(z_t, t, previous)
            return self.to_x(z_t, prediction, t, kind)

        return denoise


def spread(per_row: Float[Tensor, "B"], like: Float[Tensor, "B *D"]) -> Tensor:
    """(B,) -> (B, 1, ..., 1), in the dtype of `like`."""
    if len(per_row) not in (1, len(like)):
        raise ValueError(f"There are {len(per_row)} times for a batch of {len(like)}: give one time per row.")
    return per_row.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def tiny(like: Tensor) -> float:
    return math.sqrt(torch.finfo(like.dtype).tiny)


def check_kind(kind: str) -> None:
    if kind not in ("x", "eps", "v"):
        raise ValueError(f'A network predicts "x", "eps" or "v", not {kind!r}.')


def check_eta(eta: float) -> None:
    if not 0 <= eta <= 1:
        raise ValueError(f"eta lies in [0, 1] (0: DDIM, no fresh noise; 1: ancestral), got {eta}.")
