"""Samplers are functions of a denoiser: they own no model, no objective and no trainer."""

from difflm_core.samplers.autoregressive import sample_ar
from difflm_core.samplers.budget import calls_needed, steps_for_calls
from difflm_core.samplers.categorical import draw, draw_from, probabilities
from difflm_core.samplers.diffusion_lm import sample_diffusion_lm
from difflm_core.samplers.discrete import sample_discrete
from difflm_core.samplers.gaussian import GaussianSample, VectorFrame, sample_gaussian, subset
from difflm_core.samplers.guidance import classifier_guide
from difflm_core.samplers.guided import confidence_remask, gstar, gumbel_top_k, random_remask, remask_count
from difflm_core.samplers.masked import prompt_canvas, sample_masked, sample_sliding
from difflm_core.samplers.mbr import MBR, minimum_bayes_risk, ngram_loss
from difflm_core.samplers.orders import fixed_order, lowest_entropy, sample_in_order, surest, widest_margin
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
    "Correction", "Frame", "GaussianSample", "Guide", "MBR", "Moment", "Moves", "Plan", "Rule", "Sample",
    "VectorFrame", "ancestral", "blocks", "calls_needed", "classifier_guide", "confidence", "confidence_remask",
    "counts", "dfm", "draw", "draw_from", "first_hitting", "fixed_order", "forward_backward", "gstar",
    "gumbel_top_k", "left_to_right", "lowest_entropy", "minimum_bayes_risk", "ngram_loss", "probabilities",
    "prompt_canvas", "random_remask", "remask_count", "remdm", "remdm_cap", "remdm_conf", "remdm_loop",
    "remdm_posterior", "remdm_rescale", "remdm_switch", "sample_ar", "sample_diffusion_lm", "sample_discrete",
    "sample_gaussian", "sample_in_order", "sample_masked", "sample_remasking", "sample_sliding", "self_correct",
    "sigma_max", "star", "star_loop", "star_plus", "steps_for_calls", "subset", "surest", "threshold",
    "widest_margin",
]  # fmt: skip
