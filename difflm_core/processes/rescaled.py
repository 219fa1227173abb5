"""A schedule made to start at the data: alpha(t) / alpha(0).

A chain given by its betas starts from alpha-bar_0 = 1. So code that takes the formula of a schedule only to derive
betas, beta_i = 1 - alpha_i / alpha_{i-1}, runs another curve: the formula divided by its first value. Improved DDPM
does this on purpose (`CosineBeta` is so written). Diffusion-LM's released code does it to its sqrt schedule without a
word: its alpha-bar is that of `Sqrt()` over 0.99, and the noise at the start that the paper's formula has comes from
the embedding step alone (see `ddpm_grid`).
"""

from dataclasses import dataclass

import torch

from difflm_core.processes.schedules import Schedule


@dataclass(frozen=True)
class Rescaled:
    """alpha(t) / alpha(0) of the given schedule: 1 at t = 0; where it was 0 it stays 0."""

    schedule: Schedule

    def _start(self, t):
        return self.schedule.alpha(torch.zeros_like(t))

    def alpha(self, t):
        return self.schedule.alpha(t) / self._start(t)

    def dalpha(self, t):
        return self.schedule.dalpha(t) / self._start(t)
