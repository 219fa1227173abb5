"""What is learned: a task turns a batch of clean tokens into nats per token. The loop knows nothing else about the
method.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import Transformer
from difflm_core.objectives import autoregressive_nll, masked_nelbo, masked_nelbo_by_count
from difflm_core.processes import Linear, masked
from difflm_core.samplers import Sample, first_hitting, sample_ar, sample_masked
from difflm_core.training.parts import batch_times


@dataclass(frozen=True)
class Masked:
    """Masked diffusion (MDLM): the continuous-time bound, one stratified time per sequence."""

    schedule: Linear = field(default_factory=Linear)
    causal = False
    exact = False  # the loss is an upper bound on -log p

    def loss(
        self, model: Transformer, x: Int[Tensor, "B L"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B L"]:
        t = batch_times(x, generator)
        return masked_nelbo(masked(model.V, self.schedule), model, x, t, generator)

    def nelbo(self, model, x, t, generator=None) -> Float[Tensor, "B L"]:
        """The bound for evaluation. It counts masks: the same mean as the loss, but its variance is finite, while that
        of 1/t times the cross-entropy of a few tokens at small t is not (E[1/t^2 * t] diverges), so that error bars
        would lie.
        """
        return masked_nelbo_by_count(masked(model.V, self.schedule), model, x, t, generator)

    def sample(self, model: Transformer, shape: tuple[int, int], generator: torch.Generator | None = None) -> Sample:
        return sample_masked(model, first_hitting(self.schedule), shape, generator=generator)


@dataclass(frozen=True)
class Autoregressive:
    """The autoregressive twin: same transformer, causal attention, chain rule."""

    causal = True
    exact = True

    def loss(
        self, model: Transformer, x: Int[Tensor, "B L"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B L"]:
        return autoregressive_nll(model, x)

    def nelbo(self, model, x, t, generator=None) -> Float[Tensor, "B L"]:
        return autoregressive_nll(model, x)

    def sample(self, model: Transformer, shape: tuple[int, int], generator: torch.Generator | None = None) -> Sample:
        return sample_ar(model, shape, generator=generator)
