"""Models that watch: a check hands one to a student's function and then knows what the function asked it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Question(NamedTuple):
    """One call of a model: copies of what it was given, and its answer."""

    z: Int[Tensor, "B L"]
    t: Float[Tensor, "B"] | None
    logits: Float[Tensor, "B L V"]


@dataclass
class Spy:
    """A Denoiser that answers `answer(z)`, logits (B, L, V), and keeps every question. It can also be called, as
    `spy(z, t)`.
    """

    answer: Callable[[Int[Tensor, "B L"]], Float[Tensor, "B L V"]]
    V: int
    length: int
    asked: list[Question] = field(default_factory=list)

    def hidden(self, z: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L V"]:
        logits = self.answer(z)
        kept = t.detach().clone() if isinstance(t, Tensor) else t
        self.asked.append(Question(z.clone(), kept, logits))
        return logits

    def logits(self, h: Float[Tensor, "*N V"]) -> Float[Tensor, "*N V"]:
        return h

    __call__ = hidden


class Counter:
    """A denoiser of which the rows it is asked about are counted; in all else it is the one inside."""

    def __init__(self, inside):
        self.inside, self.rows = inside, 0

    def hidden(self, z: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L D"]:
        self.rows += len(z)
        return self.inside.hidden(z, t)

    def __call__(self, z: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L V"]:
        return self.inside.logits(self.hidden(z, t))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inside, name)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def close(value: Any, truth: Tensor, rtol: float = 1e-4) -> bool:
    """Whether a number or a tensor equals `truth` up to rtol; one number may stand for a tensor of equal entries."""
    value = torch.as_tensor(value, dtype=torch.float64)
    return value.shape in ((), truth.shape) and torch.allclose(value.expand(truth.shape), truth.double(), rtol, 1e-9)
