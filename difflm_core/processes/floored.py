"""A schedule that never reaches zero: alpha(t), but at least `least`.

A network that predicts noise says nothing about x where there is no signal: x_hat = (z - noise eps) / sqrt(alpha_t)
divides by zero. Code that makes a schedule from betas and caps them at 0.999, as improved DDPM's and Diffusion-LM's do,
keeps a rest of signal at the end; for Diffusion-LM's sqrt schedule with T = 2000 it is 2.0e-7, our default.
"""

from dataclasses import dataclass

import torch

from difflm_core.processes.schedules import Schedule


@dataclass(frozen=True)
class Floored:
    """max(alpha(t), least)."""

    schedule: Schedule
    least: float = 2e-7

    def alpha(self, t):
        return self.schedule.alpha(t).clamp_min(self.least)

    def dalpha(self, t):
        above = self.schedule.alpha(t) > self.least
        return torch.where(above, self.schedule.dalpha(t), torch.zeros_like(t))
