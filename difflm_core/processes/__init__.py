"""Forward processes: how clean data becomes noise, and Bayes' rule back."""

from difflm_core.processes import matrices
from difflm_core.processes.discrete import DiscreteProcess, masked
from difflm_core.processes.gaussian import GaussianProcess
from difflm_core.processes.hybrid import HybridSchedule, hybrid, uniform
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
    "Cosine", "CosineBeta", "DiscreteProcess", "GaussianProcess", "HybridSchedule", "Linear", "LinearBeta", "Schedule",
    "ShiftedCosine", "Sqrt", "hybrid", "masked", "matrices", "time_of", "uniform",
]  # fmt: skip
