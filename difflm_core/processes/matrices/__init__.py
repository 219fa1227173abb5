"""D3PM's transition matrices (Austin et al. 2021): any way to replace symbols by symbols, step by step.

    Q = matrices.uniform(K=27, betas=matrices.cosine_betas(T=50))      # (T, K, K), rows sum to 1
    process = matrices.MatrixProcess(Q, V=27)                          # corrupt, posterior, step, prior, evidence
    process = matrices.uniform_process(27, matrices.cosine_betas(50))  # the same without a single matrix

For uniform, Gaussian and nearest-neighbour noise the states are the V tokens; for absorbing noise K = V + 1, mask = V.
"""

from difflm_core.processes.matrices.bayes import cumulative, posterior, posterior_mixture, without_own_evidence
from difflm_core.processes.matrices.betas import cosine_betas, linear_betas, reciprocal_betas, step_noise, total_noise
from difflm_core.processes.matrices.chain import MatrixProcess
from difflm_core.processes.matrices.closed_form import GridSchedule, absorbing_process, uniform_process
from difflm_core.processes.matrices.families import absorbing, gaussian, uniform
from difflm_core.processes.matrices.information import (
    information_alphas,
    information_betas,
    information_levels,
    mutual_information,
)
from difflm_core.processes.matrices.neighbours import exponentials, nearest_neighbour, neighbour_rates

__all__ = [
    "GridSchedule", "MatrixProcess", "absorbing", "absorbing_process", "cosine_betas", "cumulative", "exponentials",
    "gaussian", "information_alphas", "information_betas", "information_levels", "linear_betas", "mutual_information",
    "nearest_neighbour", "neighbour_rates", "posterior", "posterior_mixture", "reciprocal_betas", "step_noise",
    "total_noise", "uniform", "uniform_process", "without_own_evidence",
]  # fmt: skip
