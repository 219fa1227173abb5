"""Schedules: how much of the data survives at time t.

A schedule knows two scalar functions of t in [0, 1] and nothing else: `alpha(t)`, which falls from (about) 1 at t = 0,
the data, to (about) 0 at t = 1, the noise, and its exact derivative `dalpha(t)`. For a discrete process alpha is the
probability that a token is still itself; for a Gaussian one it is the squared signal level (written alpha-bar in DDPM).
Every loss weight of the course is computed from these two numbers where it is used, so that no formula is stored twice.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor


class Schedule(Protocol):
    def alpha(self, t: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]: ...

    def dalpha(self, t: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]: ...


@dataclass(frozen=True)
class Linear:
    """alpha = 1 - t. On this schedule t is the expected share of masked tokens (MDLM's log-linear noise, Sahoo et al.
    2024, Eq. 90).
    """

    def alpha(self, t):
        return 1 - t

    def dalpha(self, t):
        return -torch.ones_like(t)


@dataclass(frozen=True)
class Cosine:
    """alpha = 1 - cos(pi (1 - t) / 2), flat at t = 1: a sampler on an even grid of t reveals few tokens in its first
    steps and most in its last (MD4, Shi et al. 2024; MDLM Eq. 92).
    """

    def alpha(self, t):
        return 1 - torch.cos(math.pi / 2 * (1 - t))

    def dalpha(self, t):
        return -math.pi / 2 * torch.sin(math.pi / 2 * (1 - t))


@dataclass(frozen=True)
class Sqrt:
    """alpha = 1 - sqrt(t + s), clipped at 0: Diffusion-LM's schedule (Li et al. 2022, App. A, s = 1e-4).

    It starts at 0.99, because Diffusion-LM wants a little noise already at t = 0 (its sigma_0), and would pass zero
    just before t = 1: hence the clip.
    """

    s: float = 1e-4

    def alpha(self, t):
        return (1 - torch.sqrt(t + self.s)).clamp_min(0)

    def dalpha(self, t):
        inside = t + self.s < 1
        return torch.where(inside, -0.5 / torch.sqrt(t + self.s), torch.zeros_like(t))


@dataclass(frozen=True)
class ShiftedCosine:
    """alpha = 1 / (1 + d^2 tan^2(pi t / 2)): the cosine schedule with its log-SNR lowered by 2 log d (TEncDM, Shabalin
    et al. 2024, section 5.3).

    d = 1 is cos^2(pi t / 2); TEncDM uses d = 9. Written with sine and cosine so that t = 1 needs no infinite tangent.
    """

    d: float = 1.0

    def alpha(self, t):
        cos2, sin2 = torch.cos(math.pi / 2 * t) ** 2, torch.sin(math.pi / 2 * t) ** 2
        return cos2 / (cos2 + self.d**2 * sin2)

    def dalpha(self, t):
        cos, sin = torch.cos(math.pi / 2 * t), torch.sin(math.pi / 2 * t)
        return -math.pi * self.d**2 * sin * cos / (cos**2 + self.d**2 * sin**2) ** 2


@dataclass(frozen=True)
class LinearBeta:
    """alpha = exp(-integral of beta), beta rising linearly: DDPM's schedule in continuous time (Ho et al. 2020: 0.1 and
    20 are T = 1000 times 1e-4 and 0.02).
    """

    beta_0: float = 0.1
    beta_1: float = 20.0

    def alpha(self, t):
        return torch.exp(-(self.beta_0 * t + (self.beta_1 - self.beta_0) * t**2 / 2))

    def dalpha(self, t):
        return -(self.beta_0 + (self.beta_1 - self.beta_0) * t) * self.alpha(t)


@dataclass(frozen=True)
class CosineBeta:
    """alpha = f(t) / f(0), f(t) = cos^2(pi/2 (t + s) / (1 + s)): improved DDPM's cosine (Nichol & Dhariwal 2021, s =
    0.008).
    """

    s: float = 0.008

    def _angle(self, t):
        return math.pi / 2 * (t + self.s) / (1 + self.s)

    def alpha(self, t):
        return torch.cos(self._angle(t)) ** 2 / math.cos(math.pi / 2 * self.s / (1 + self.s)) ** 2

    def dalpha(self, t):
        rate = math.pi / (1 + self.s) / math.cos(math.pi / 2 * self.s / (1 + self.s)) ** 2
        return -rate * torch.sin(self._angle(t)) * torch.cos(self._angle(t))


def check_times(t: Float[Tensor, "*B"]) -> None:
    """Refuse times outside [0, 1] (only on the CPU: on a GPU the look would stall the queue at every step)."""
    if t.device.type == "cpu" and t.numel() and not bool(((t >= 0) & (t <= 1)).all()):
        worst = t.flatten()[(t.flatten() - 0.5).abs().nan_to_num(math.inf).argmax()].item()
        raise ValueError(f"t must lie in [0, 1] (0 = data, 1 = noise), but one entry is {worst:g}.")


def time_of(schedule: Schedule, alpha: Float[Tensor, "*B"], steps: int = 60) -> Float[Tensor, "*B"]:
    """The t with schedule.alpha(t) = alpha, by bisection (alpha falls with t). Needed where a sampler works in alpha
    and the network wants t.
    """
    low, high = torch.zeros_like(alpha), torch.ones_like(alpha)
    for _ in range(steps):
        middle = (low + high) / 2
        too_clean = schedule.alpha(middle) > alpha
        low, high = torch.where(too_clean, middle, low), torch.where(too_clean, high, middle)
    return (low + high) / 2
