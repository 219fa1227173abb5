"""D3PM as a task: absorbing or uniform noise on a grid of T steps, the bound with a cross-entropy beside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import Transformer
from difflm_core.objectives import d3pm_hybrid_loss, d3pm_nelbo
from difflm_core.processes import DiscreteProcess
from difflm_core.processes.matrices import absorbing_process, cosine_betas, reciprocal_betas, uniform_process
from difflm_core.samplers import Sample, sample_discrete
from difflm_core.training.parts import batch_times
from difflm_core.training.tasks import transformer


class Noise(Enum):
    """What a token becomes, with the schedule that the paper gives it: 1 / (T - t + 1) and the cosine."""

    ABSORBING = "absorbing"
    UNIFORM = "uniform"


@cache
def chain(noise: Noise, V: int, T: int) -> DiscreteProcess:
    if noise is Noise.ABSORBING:
        return absorbing_process(V, reciprocal_betas(T))
    return uniform_process(V, cosine_betas(T))


@dataclass(frozen=True)
class D3PM:
    """D3PM (Austin et al. 2021) in closed form. `lam` weighs the cross-entropy in every step's term (Eq. 5): the paper
    takes 0.01 for absorbing noise, and for uniform noise it hurts. `steps` are the sampler's.
    """

    noise: Noise = Noise.ABSORBING
    lam: float = 0.01
    T: int = 1000
    steps: int = 250
    exact = False  # a bound, and the loss is more than it: see `nelbo`

    def __post_init__(self):
        if not (1 <= self.steps <= self.T and self.T % self.steps == 0):
            raise ValueError(f"The sampler's steps must divide the T = {self.T} of the chain, got {self.steps}.")
        if not self.lam >= 0:
            raise ValueError(f"lam weighs a loss and must be at least 0, got {self.lam}.")

    def network(self, V: int, length: int, size) -> Transformer:
        return transformer(V, length, size)

    def process(self, V: int) -> DiscreteProcess:
        return chain(self.noise, V, self.T)

    def loss(
        self, model: Transformer, x: Int[Tensor, "B L"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B L"]:
        t, process = batch_times(x, generator), self.process(model.V)
        if self.lam == 0:
            return d3pm_nelbo(process, model, x, t, generator=generator)
        return d3pm_hybrid_loss(process, model, x, t, self.lam, generator=generator)

    def nelbo(self, model, x, t, generator=None) -> Float[Tensor, "B L"]:
        """The bound of all T steps, one of them drawn per row."""
        return d3pm_nelbo(self.process(model.V), model, x, t, generator=generator)

    def sample(self, model: Transformer, shape: tuple[int, int], generator: torch.Generator | None = None) -> Sample:
        return sample_discrete(self.process(model.V), model, self.steps, shape, generator=generator)

    def samplers(self, model: Transformer, shape: tuple[int, int], generator=None) -> Iterator[tuple[str, Sample]]:
        """(label, Sample) from few network calls to many."""
        for T in (T for T in (2, 4, 8, 16, 50, 64, 250) if self.T % T == 0):
            sample = sample_discrete(self.process(model.V), model, T, shape, generator=generator)
            yield f"posterior, T = {T} of {self.T}", sample
