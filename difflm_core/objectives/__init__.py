"""Training losses and bounds: all in nats per token, shape (B, L), already weighted."""

from difflm_core.objectives.autoregressive import autoregressive_nll
from difflm_core.objectives.d3pm import BoundParts, d3pm_hybrid_loss, d3pm_nelbo, d3pm_parts
from difflm_core.objectives.gidd import elbo_weights, gidd_at, gidd_loss, gidd_nelbo, gidd_nelbo_warped
from difflm_core.objectives.gidd_weightings import clamped, dynamic, relative
from difflm_core.objectives.masked import masked_nelbo, masked_nelbo_by_count, masked_nelbo_discrete
from difflm_core.objectives.times import independent_times, stratified_times

__all__ = [
    "BoundParts", "autoregressive_nll", "clamped", "d3pm_hybrid_loss", "d3pm_nelbo", "d3pm_parts", "dynamic",
    "elbo_weights", "gidd_at", "gidd_loss", "gidd_nelbo", "gidd_nelbo_warped", "independent_times", "masked_nelbo",
    "masked_nelbo_by_count", "masked_nelbo_discrete", "relative", "stratified_times",
]  # fmt: skip
