"""Schedules written as the log-SNR: alpha = sigmoid(-gamma(t)), gamma rising with t (VDM, Kingma et al. 2021).

The continuous bound depends on a schedule only through gamma(0) and gamma(1). The shape between them decides how much
the estimate scatters, so VDM learns it: `LearnedLogSnr` is a monotone network whose ends are parameters too.
"""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class LinearLogSnr:
    """gamma runs from -high to -low in a straight line: log-SNR high at the data, low at the noise.

    alpha(0) is below 1. With these ends 1 - alpha(0) and alpha(1) are 4.5e-5.
    """

    high: float = 10.0
    low: float = -10.0

    def alpha(self, t):
        return torch.sigmoid(self.high + (self.low - self.high) * t)

    def dalpha(self, t):
        alpha = self.alpha(t)
        return (self.low - self.high) * alpha * (1 - alpha)


class LearnedLogSnr(nn.Module):
    """gamma(t) = start + (end - start) (g(t) - g(0)) / (g(1) - g(0)), g(t) = a t + sum_j b_j sigmoid(c_j t + d_j) with
    a, b, c > 0: it can only rise.

    Train `start` and `end` by the bound. The shape gets no gradient from the bound's expectation: train it on the
    square of the one-sample bound, as VDM does: its mean falls exactly as the variance does.
    Computed in float64.
    """

    def __init__(self, high: float = 10.0, low: float = -10.0, width: int = 32):
        super().__init__()
        if not high > low:
            raise ValueError(f"The log-SNR falls from high to low, got high = {high}, low = {low}.")
        self.start, self.end = nn.Parameter(torch.tensor(-high)), nn.Parameter(torch.tensor(-low))
        self.slope = nn.Parameter(torch.tensor(0.5))
        self.height = nn.Parameter(torch.full((width,), -3.0))
        self.steepness = nn.Parameter(torch.full((width,), 10.0))
        self.place = nn.Parameter(-10.0 * (torch.arange(width) + 0.5) / width)

    def shape(self, t):
        """g(t) and g'(t)."""
        a, b, c = (nn.functional.softplus(p.double()) for p in (self.slope, self.height, self.steepness))
        t = t.double()
        bump = torch.sigmoid(t[..., None] * c + self.place.double())
        return a * t + (b * bump).sum(-1), a + (b * c * bump * (1 - bump)).sum(-1)

    def gamma(self, t):
        """(gamma, gamma') at t, float64."""
        ends = self.shape(torch.tensor([0.0, 1.0], device=t.device))[0]
        scale = (self.end - self.start).double() / (ends[1] - ends[0])
        g, slope = self.shape(t)
        return self.start + scale * (g - ends[0]), scale * slope

    def alpha(self, t):
        return torch.sigmoid(-self.gamma(t)[0]).to(t.dtype)

    def dalpha(self, t):
        gamma, slope = self.gamma(t)
        alpha = torch.sigmoid(-gamma)
        return (-slope * alpha * (1 - alpha)).to(t.dtype)
