"""Training losses and bounds, already weighted: nats per token (B, L), or per dimension (B, *D) for vectors; those
of decoders from latents per text (B,).
"""

from difflm_core.objectives.autoregressive import autoregressive_nll
from difflm_core.objectives.block import block_nelbo, block_nelbo_by_count, block_times, clipped, loss_variance
from difflm_core.objectives.cosmos import STAGES, CosmosLoss, Smoothing, cosmos_loss
from difflm_core.objectives.d3pm import BoundParts, d3pm_hybrid_loss, d3pm_nelbo, d3pm_parts
from difflm_core.objectives.diffusion_lm import DiffusionLMLoss, diffusion_lm_loss
from difflm_core.objectives.diffusion_lm_bound import DiffusionLMParts, diffusion_lm_nelbo, diffusion_lm_nelbo_at
from difflm_core.objectives.edits import edit_nll
from difflm_core.objectives.gaussian import GaussianParts, gaussian_mse, gaussian_nelbo, gaussian_parts, gaussian_prior
from difflm_core.objectives.gaussian_continuous import gaussian_nelbo_continuous
from difflm_core.objectives.gaussian_variance import best_variance, fixed_large, fixed_small
from difflm_core.objectives.gidd import elbo_weights, gidd_at, gidd_loss, gidd_nelbo, gidd_nelbo_warped
from difflm_core.objectives.gidd_weightings import clamped, dynamic, relative
from difflm_core.objectives.latent import drop_labels, latent_loss
from difflm_core.objectives.ld4lg import denoising_loss, ld4lg_loss
from difflm_core.objectives.learned_variance import gaussian_hybrid_loss, interpolated, learned
from difflm_core.objectives.loss_aware_times import LossAwareTimes
from difflm_core.objectives.masked import masked_nelbo, masked_nelbo_by_count, masked_nelbo_discrete
from difflm_core.objectives.planner import PlannerLoss, planner_diffusion_loss, planner_loss
from difflm_core.objectives.score_entropy import score_entropy, score_entropy_at
from difflm_core.objectives.sft import answer_nelbo, answer_nelbo_by_count, answer_rows
from difflm_core.objectives.tencdm import tencdm_decoder_loss, word_nll
from difflm_core.objectives.times import independent_times, stratified_times
from difflm_core.objectives.written import written_nll

__all__ = [
    "BoundParts", "CosmosLoss", "DiffusionLMLoss", "DiffusionLMParts", "GaussianParts", "LossAwareTimes",
    "PlannerLoss", "STAGES", "Smoothing", "answer_nelbo", "answer_nelbo_by_count", "answer_rows",
    "autoregressive_nll", "best_variance", "block_nelbo", "block_nelbo_by_count", "block_times", "clamped",
    "clipped", "cosmos_loss", "d3pm_hybrid_loss", "d3pm_nelbo", "d3pm_parts", "denoising_loss", "diffusion_lm_loss",
    "diffusion_lm_nelbo", "diffusion_lm_nelbo_at", "drop_labels", "dynamic", "edit_nll", "elbo_weights",
    "fixed_large", "fixed_small", "gaussian_hybrid_loss", "gaussian_mse", "gaussian_nelbo",
    "gaussian_nelbo_continuous", "gaussian_parts", "gaussian_prior", "gidd_at", "gidd_loss", "gidd_nelbo",
    "gidd_nelbo_warped", "independent_times", "interpolated", "latent_loss", "ld4lg_loss", "learned",
    "loss_variance", "masked_nelbo", "masked_nelbo_by_count", "masked_nelbo_discrete", "planner_diffusion_loss",
    "planner_loss", "relative", "score_entropy", "score_entropy_at", "stratified_times", "tencdm_decoder_loss",
    "word_nll", "written_nll",
]  # fmt: skip
