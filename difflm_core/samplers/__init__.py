"""Samplers are functions of a denoiser: they own no model, no objective and no trainer."""

from difflm_core.samplers.autoregressive import sample_ar
from difflm_core.samplers.budget import calls_needed, steps_for_calls
from difflm_core.samplers.categorical import draw, draw_from, probabilities
from difflm_core.samplers.discrete import sample_discrete
from difflm_core.samplers.guided import confidence_remask, gstar, gumbel_top_k, random_remask, remask_count
from difflm_core.samplers.masked import prompt_canvas, sample_masked, sample_sliding
from difflm_core.samplers.plans import Plan, ancestral, blocks, confidence, first_hitting, left_to_right, threshold
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
from difflm_core.samplers.sample import Frame, Sample
from difflm_core.samplers.self_correction import Correction, self_correct

__all__ = [
    "Correction", "Frame", "Guide", "Moment", "Moves", "Plan", "Rule", "Sample", "ancestral", "blocks", "calls_needed",
    "confidence", "confidence_remask", "dfm", "draw", "draw_from", "first_hitting", "forward_backward", "gstar",
    "gumbel_top_k", "left_to_right", "probabilities", "prompt_canvas", "random_remask", "remask_count", "remdm",
    "remdm_cap", "remdm_conf", "remdm_loop", "remdm_posterior", "remdm_rescale", "remdm_switch", "sample_ar",
    "sample_discrete", "sample_masked", "sample_remasking", "sample_sliding", "self_correct", "sigma_max",
    "star", "star_loop", "star_plus", "steps_for_calls", "threshold",
]  # fmt: skip
