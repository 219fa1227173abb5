"""Languages whose every probability is known, to check bounds, denoisers and samplers against the truth."""

from difflm_core.oracle.denoiser import ExactDenoiser
from difflm_core.oracle.evidence import EmbeddingEvidence, MatrixEvidence, log_evidence
from difflm_core.oracle.grammar_rules import broken_rules
from difflm_core.oracle.hmm import HiddenMarkovLanguage
from difflm_core.oracle.slot_grammar import Grammar, Slot, build_language

__all__ = [
    "EmbeddingEvidence",
    "ExactDenoiser",
    "Grammar",
    "HiddenMarkovLanguage",
    "MatrixEvidence",
    "Slot",
    "broken_rules",
    "build_language",
    "log_evidence",
]
