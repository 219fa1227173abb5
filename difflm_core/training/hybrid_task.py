"""GIDD as a task: hybrid noise, the loss with tamer weights for training, the bound itself for every report."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import Transformer
from difflm_core.objectives import clamped, dynamic, gidd_loss, gidd_nelbo_warped, relative
from difflm_core.processes import DiscreteProcess, hybrid
from difflm_core.samplers import Sample, sample_discrete
from difflm_core.training.parts import batch_times
from difflm_core.training.tasks import transformer

STEPS = 64  # of the sampler that shows what a run has learned


def as_bound(w_max: float):
    """The bound's own weights, whatever w_max."""
    return lambda w, process, x, z_t, t: w


class Weights(Enum):
    """How training weighs the divergences; see objectives/gidd_weightings.py."""

    BOUND = "bound"
    CLAMPED = "clamped"
    DYNAMIC = "dynamic"
    RELATIVE = "relative"


WEIGHTINGS = {
    Weights.BOUND: as_bound,
    Weights.CLAMPED: clamped,
    Weights.DYNAMIC: dynamic,
    Weights.RELATIVE: relative,
}


@dataclass(frozen=True)
class Hybrid:
    """GIDD (von Ruette et al. 2025): masks and, among them, random tokens. p_uniform = 0 is masked diffusion."""

    p_uniform: float = 0.2
    weights: Weights = Weights.DYNAMIC
    w_max: float = 1.0
    exact = False  # the loss is not even a bound: see `nelbo`

    def __post_init__(self):
        hybrid(2, self.p_uniform)  # refuses a share outside [0, 1)

    def network(self, V: int, length: int, size) -> Transformer:
        return transformer(V, length, size)

    def process(self, V: int) -> DiscreteProcess:
        return hybrid(V, self.p_uniform)

    def loss(
        self, model: Transformer, x: Int[Tensor, "B L"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B L"]:
        t = batch_times(x, generator)
        weighting = WEIGHTINGS[self.weights](self.w_max)
        return gidd_loss(self.process(model.V), model, x, t, generator, weighting)

    def nelbo(self, model, x, t, generator=None) -> Float[Tensor, "B L"]:
        """The unweighted bound, drawn at t^3 so that its variance is finite."""
        return gidd_nelbo_warped(self.process(model.V), model, x, t, generator)

    def sample(self, model: Transformer, shape: tuple[int, int], generator: torch.Generator | None = None) -> Sample:
        return sample_discrete(self.process(model.V), model, STEPS, shape, generator=generator)

    def samplers(self, model: Transformer, shape: tuple[int, int], generator=None) -> Iterator[tuple[str, Sample]]:
        """(label, Sample) from few network calls to many."""
        for T in (2, 4, 8, 16, 64):
            sample = sample_discrete(self.process(model.V), model, T, shape, generator=generator)
            yield f"posterior, T = {T}", sample
