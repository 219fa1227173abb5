"""Bounds with their uncertainty, and sample quality with its company."""

from difflm_core.evaluation.detection import Detection, auroc, detection
from difflm_core.evaluation.exact_orders import order_nll
from difflm_core.evaluation.generation import GenerationReport, distinct_n, judge_samples, unigram_entropy
from difflm_core.evaluation.likelihood import Estimate, estimate_nelbo

__all__ = [
    "Detection", "Estimate", "GenerationReport", "auroc", "detection", "distinct_n", "estimate_nelbo",
    "judge_samples", "order_nll", "unigram_entropy",
]  # fmt: skip
