"""What the open exercises on samplers measure: is it a sample, and how good and how varied are its sentences?"""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from difflm_core.evaluation import position_entropy


@dataclass(frozen=True)
class Figures:
    """Of a batch of sentences: shares of broken and of distinct ones, nats per position of the words used there, and
    nats by which right sentences are likelier than true ones (0 if there is no right one).
    """

    broken: float
    distinct: float
    spread: float
    gap: float


def measure(tokens: Int[Tensor, "B L"], language) -> Figures:
    good = language.grammatical(tokens)
    gap = language.log_prob(tokens[good]).mean().item() + language.entropy() if bool(good.any()) else 0.0
    distinct = len(tokens.unique(dim=0)) / len(tokens)
    return Figures(1 - good.double().mean().item(), distinct, position_entropy(tokens, language.V), gap)


def check_sample(sample, shape, V: int, hint: str = ""):
    """A Sample of whole sentences and of the asked shape; `hint` says why masks may be left."""
    assert hasattr(sample, "tokens") and hasattr(sample, "network_calls"), (
        "Return a Sample: Sample(tokens, network_calls)."
    )
    assert isinstance(sample.tokens, Tensor) and tuple(sample.tokens.shape) == tuple(shape), (
        f"The tokens must be shaped {tuple(shape)}, as asked."
    )
    assert not bool((sample.tokens == V).any()), f"Masks are left in the text{hint}."
    assert bool(((sample.tokens >= 0) & (sample.tokens < V)).all()), f"Token ids must lie in 0..{V - 1}."
