"""What the open exercises on samplers measure: is it a sample, and how good and how varied are its sentences?"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Figures:
    """Of a batch of sentences: shares of broken and of distinct ones, and nats per position of the words used there."""

    broken: float
    distinct: float
    spread: float


def measure(tokens: Int[Tensor, "B L"], language) -> Figures:
    used = torch.nn.functional.one_hot(tokens, language.V).double().mean(0)  # (L, V)
    spread = torch.special.entr(used).sum(-1).mean().item()
    broken = 1 - language.grammatical(tokens).double().mean().item()
    return Figures(broken, len(tokens.unique(dim=0)) / len(tokens), spread)


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
