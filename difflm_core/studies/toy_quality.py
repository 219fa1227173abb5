"""How good sentences of the toy language are, and whether they are as various as the language: for all studies."""

from jaxtyping import Int
from torch import Tensor

from difflm_core.data import toy_language
from difflm_core.evaluation import position_entropy, unigram_entropy
from difflm_core.samplers import Sample


def quality(tokens: Int[Tensor, "B L"], least: int = 1) -> dict:
    """Figures that belong together: a sampler that breaks less may only have become narrower. Exact but for the finite
    number of sentences. The gap is None with fewer than `least` right sentences.
    """
    language = toy_language()
    good = language.grammatical(tokens)
    right, enough = good.double().mean().item(), int(good.sum()) >= least
    return {
        "grammatical": right,
        "broken": 1 - right,
        # nats per sentence by which the grammatical ones are likelier than true sentences; 0 is right
        "log_prob_gap": language.log_prob(tokens[good]).mean().item() + language.entropy() if enough else None,
        "entropy": unigram_entropy(tokens),  # within a sentence
        "spread": position_entropy(tokens, language.V),  # of the words used at a position, over sentences
        "distinct": len(tokens.unique(dim=0)) / len(tokens),
    }


def of_sample(sample: Sample) -> dict:
    """The same, and the network calls per sentence."""
    return {**quality(sample.tokens), "network_calls": sample.network_calls.double().mean().item()}
