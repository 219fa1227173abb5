"""Languages whose every probability is known, to check bounds, denoisers and samplers against the truth."""

from difflm_core.oracle.denoiser import ExactDenoiser
from difflm_core.oracle.evidence import EmbeddingEvidence, MatrixEvidence, log_evidence
from difflm_core.oracle.gaussian import GaussianMixture, gaussian_data
from difflm_core.oracle.grammar_labels import feature_value
from difflm_core.oracle.grammar_rules import broken_rules
from difflm_core.oracle.hmm import HiddenMarkovLanguage
from difflm_core.oracle.perfect_reader import PerfectReader
from difflm_core.oracle.recoverable import Recoverable, UselessSteps, guessed_blind, recoverable, useless_steps
from difflm_core.oracle.slot_grammar import Grammar, Slot, build_language

__all__ = [
    "EmbeddingEvidence",
    "ExactDenoiser",
    "GaussianMixture",
    "Grammar",
    "HiddenMarkovLanguage",
    "MatrixEvidence",
    "PerfectReader",
    "Recoverable",
    "Slot",
    "UselessSteps",
    "broken_rules",
    "build_language",
    "feature_value",
    "gaussian_data",
    "guessed_blind",
    "log_evidence",
    "recoverable",
    "useless_steps",
]
