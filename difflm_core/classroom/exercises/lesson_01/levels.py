"""Pairs of signal levels to ask exercises 1.1 to 1.3 about, and a schedule that has them."""

import torch

from difflm_core.processes import GaussianProcess, Linear
from difflm_core.processes.gaussian import spread

ALPHA_S = torch.tensor([0.9, 0.6, 0.3, 0.99, 0.5], dtype=torch.float64)
ALPHA_T = torch.tensor([0.7, 0.5, 0.01, 0.98, 0.05], dtype=torch.float64)
PROCESS, S, T = GaussianProcess(Linear()), 1 - ALPHA_S, 1 - ALPHA_T  # alpha = 1 - t


def points(seed: int, D: int = 3) -> torch.Tensor:
    return torch.randn(len(S), D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def column(per_row: torch.Tensor) -> torch.Tensor:
    return spread(per_row, points(0))
