"""Bounds with their uncertainty, and sample quality with its company."""

from difflm_core.evaluation.bleu import bleu
from difflm_core.evaluation.code import CodeReport, code_report, run_code
from difflm_core.evaluation.detection import Detection, auroc, detection
from difflm_core.evaluation.diversity import distinct_in_texts, diversity, length_histogram, repeated, word_counts
from difflm_core.evaluation.exact_orders import order_nll
from difflm_core.evaluation.generation import (
    GenerationReport,
    distinct_n,
    judge_samples,
    position_entropy,
    unigram_entropy,
)
from difflm_core.evaluation.judge import Judgement, encoder_features, judge_features, judge_texts
from difflm_core.evaluation.likelihood import Estimate, estimate_nelbo
from difflm_core.evaluation.mauve import Mauve, mauve
from difflm_core.evaluation.memorisation import TrainingTexts
from difflm_core.evaluation.smoothness import Between, decode_noisy, interpolate
from difflm_core.evaluation.text_report import TextReport, shuffle_words, text_report

__all__ = [
    "Between", "CodeReport", "Detection", "Estimate", "GenerationReport", "Judgement", "Mauve", "TextReport",
    "TrainingTexts", "auroc", "bleu", "code_report", "decode_noisy", "detection", "distinct_in_texts", "distinct_n",
    "diversity", "encoder_features", "estimate_nelbo", "interpolate", "judge_features", "judge_samples",
    "judge_texts", "length_histogram", "mauve", "order_nll", "position_entropy", "repeated", "run_code",
    "shuffle_words", "text_report", "unigram_entropy", "word_counts",
]  # fmt: skip
