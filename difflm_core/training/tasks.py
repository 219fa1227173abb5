"""What is learned: a task builds its network, turns a batch of clean tokens into nats per token, and samples. The loop
knows nothing else about the method.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives import autoregressive_nll, masked_nelbo, masked_nelbo_by_count
from difflm_core.processes import Linear, masked
from difflm_core.samplers import Sample, ancestral, first_hitting, sample_ar, sample_masked
from difflm_core.training.fixed_rows import rows_of
from difflm_core.training.parts import batch_times


def transformer(V: int, length: int, size, causal: bool = False) -> Transformer:
    """The course's network in a recipe's `Size`."""
    shape = (size.width, size.layers, size.heads)
    return Transformer(TransformerConfig(V, length, *shape, causal, size.time_conditioning, size.dropout))


@dataclass(frozen=True)
class Masked:
    """Masked diffusion (MDLM): the continuous-time bound, one stratified time per sequence."""

    schedule: Linear = field(default_factory=Linear)
    exact = False  # the loss is an upper bound on -log p

    def network(self, V: int, length: int, size) -> Transformer:
        return transformer(V, length, size)

    def loss(
        self, model: Transformer, x: Int[Tensor, "B L"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B L"]:
        t = batch_times(x, generator)
        return masked_nelbo(masked(model.V, self.schedule), model, x, t, generator, rows_of(model, self.schedule, x))

    def nelbo(self, model, x, t, generator=None) -> Float[Tensor, "B L"]:
        """The bound for evaluation. It counts masks: the same mean as the loss, but its variance is finite, while that
        of 1/t times the cross-entropy of a few tokens at small t is not (E[1/t^2 * t] diverges), so that error bars
        would lie.
        """
        return masked_nelbo_by_count(masked(model.V, self.schedule), model, x, t, generator)

    def sample(self, model: Transformer, shape: tuple[int, int], generator: torch.Generator | None = None) -> Sample:
        return sample_masked(model, first_hitting(self.schedule), shape, generator=generator)

    def samplers(self, model: Transformer, shape: tuple[int, int], generator=None) -> Iterator[tuple[str, Sample]]:
        """(label, Sample) from few network calls to many."""
        for T in (1, 2, 4, 8):
            yield f"ancestral, T = {T}", sample_masked(model, ancestral(T, self.schedule), shape, generator=generator)
        yield "first-hitting", self.sample(model, shape, generator)


@dataclass(frozen=True)
class Autoregressive:
    """The autoregressive twin: same transformer, causal attention, chain rule."""

    exact = True

    def network(self, V: int, length: int, size) -> Transformer:
        return transformer(V, length, size, causal=True)

    def loss(
        self, model: Transformer, x: Int[Tensor, "B L"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B L"]:
        return autoregressive_nll(model, x)

    def nelbo(self, model, x, t, generator=None) -> Float[Tensor, "B L"]:
        return autoregressive_nll(model, x)

    def sample(self, model: Transformer, shape: tuple[int, int], generator: torch.Generator | None = None) -> Sample:
        return sample_ar(model, shape, generator=generator)

    def samplers(self, model: Transformer, shape: tuple[int, int], generator=None) -> Iterator[tuple[str, Sample]]:
        """There is one way only."""
        yield "left to right", self.sample(model, shape, generator)
