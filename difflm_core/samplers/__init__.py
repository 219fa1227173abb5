"""Samplers are functions of a denoiser: they own no model, no objective and no trainer."""

from difflm_core.samplers.autoregressive import sample_ar
from difflm_core.samplers.blocks import block_by_block, sample_blocks
from difflm_core.samplers.budget import calls_needed, steps_for_calls
from difflm_core.samplers.categorical import draw, draw_from, probabilities
from difflm_core.samplers.diffusion_lm import sample_diffusion_lm
from difflm_core.samplers.discrete import sample_discrete
from difflm_core.samplers.gaussian import GaussianSample, VectorFrame, sample_gaussian, subset
from difflm_core.samplers.guidance import classifier_guide
from difflm_core.samplers.guided import confidence_remask, gstar, gumbel_top_k, random_remask, remask_count
from difflm_core.samplers.large_step import large_step
from difflm_core.samplers.latents import ancestral_step, ddim_step, euler_step, magnitudes, sample_latents
from difflm_core.samplers.llada import after_prompt, in_random_order, sample_llada, transfer_counts
from difflm_core.samplers.masked import prompt_canvas, sample_masked, sample_sliding
from difflm_core.samplers.mbr import MBR, minimum_bayes_risk, ngram_loss
from difflm_core.samplers.orders import fixed_order, lowest_entropy, sample_in_order, surest, widest_margin
from difflm_core.samplers.parallel import at_random, entropy_bound, sure_enough
from difflm_core.samplers.plans import (
    Plan,
    ancestral,
    blocks,
    confidence,
    counts,
    first_hitting,
    left_to_right,
    threshold,
)
from difflm_core.samplers.prompt_guidance import PromptGuidance
from difflm_core.samplers.remask_rules import (
    Guide,
    Moment,
    Rule,
    dfm,
    forward_backward,
    remdm,
    remdm_cap,
    remdm_conf,
    remdm_loop,
    remdm_rescale,
    remdm_switch,
    star,
    star_loop,
    star_plus,
)  # fmt: skip
from difflm_core.samplers.remasking import sample_remasking
from difflm_core.samplers.remdm_posterior import Moves, remdm_posterior, sigma_max
from difflm_core.samplers.renoising import sample_entropy_bound
from difflm_core.samplers.sample import Frame, Sample
from difflm_core.samplers.self_correction import Correction, self_correct
from difflm_core.samplers.texts import write_texts, write_trajectory

__all__ = [
    "Correction", "Frame", "GaussianSample", "Guide", "MBR", "Moment", "Moves", "Plan", "PromptGuidance", "Rule",
    "Sample", "VectorFrame", "after_prompt", "ancestral", "ancestral_step", "at_random", "block_by_block", "blocks",
    "calls_needed", "classifier_guide", "confidence", "confidence_remask", "counts", "ddim_step", "dfm", "draw",
    "draw_from", "entropy_bound", "euler_step", "first_hitting", "fixed_order", "forward_backward", "gstar",
    "gumbel_top_k", "in_random_order", "large_step", "left_to_right", "lowest_entropy", "magnitudes",
    "minimum_bayes_risk", "ngram_loss", "probabilities", "prompt_canvas", "random_remask", "remask_count", "remdm",
    "remdm_cap", "remdm_conf", "remdm_loop", "remdm_posterior", "remdm_rescale", "remdm_switch", "sample_ar",
    "sample_blocks", "sample_diffusion_lm", "sample_discrete", "sample_entropy_bound", "sample_gaussian",
    "sample_in_order", "sample_latents", "sample_llada", "sample_masked", "sample_remasking", "sample_sliding",
    "self_correct", "sigma_max", "star", "star_loop", "star_plus", "steps_for_calls", "subset", "sure_enough",
    "surest", "threshold", "transfer_counts", "widest_margin", "write_texts", "write_trajectory",
]  # fmt: skip
