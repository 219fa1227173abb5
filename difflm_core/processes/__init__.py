"""Forward processes: how clean data becomes noise, and Bayes' rule back."""

from difflm_core.processes import matrices
from difflm_core.processes.ddpm_grid import betas_of, scaled_linear_betas
from difflm_core.processes.discrete import DiscreteProcess, masked
from difflm_core.processes.edits import edit_budget, edited, substituted
from difflm_core.processes.gaussian import GaussianProcess
from difflm_core.processes.hybrid import HybridSchedule, hybrid, uniform
from difflm_core.processes.log_snr import LearnedLogSnr, LinearLogSnr
from difflm_core.processes.matrices import GridSchedule
from difflm_core.processes.rescaled import Rescaled
from difflm_core.processes.schedules import (
    Cosine,
    CosineBeta,
    Linear,
    LinearBeta,
    Schedule,
    ShiftedCosine,
    Sqrt,
    time_of,
)

__all__ = [
    "Cosine", "CosineBeta", "DiscreteProcess", "GaussianProcess", "GridSchedule", "HybridSchedule", "LearnedLogSnr",
    "Linear", "LinearBeta", "LinearLogSnr", "Rescaled", "Schedule", "ShiftedCosine", "Sqrt", "betas_of",
    "edit_budget", "edited", "hybrid", "masked", "matrices", "scaled_linear_betas", "substituted", "time_of",
    "uniform",
]  # fmt: skip
