"""Diffusion-LM as a task: embeddings, denoiser and rounding learn together; every report gives the exact bound."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import DiffusionLM, VectorConfig, VectorTransformer
from difflm_core.objectives import diffusion_lm_loss, diffusion_lm_nelbo_at
from difflm_core.processes import Sqrt
from difflm_core.processes.gaussian import Kind, check_kind
from difflm_core.samplers import Sample, sample_diffusion_lm
from difflm_core.training.parts import batch_times


@dataclass(frozen=True)
class EmbeddingDiffusion:
    """Diffusion-LM (Li et al. 2022): vectors of `D` numbers, a chain of `T` steps, the released code's loss weights.

    Reports bound -log p by the model whose x_hat is rounded (`rounded_x_hat`), with T steps; `steps` and `clamp_from`
    are the sampler's that shows what a run has learned.
    """

    D: int = 16
    kind: Kind = "x"
    sigma_0: float = 0.1
    schedule: Sqrt = field(default_factory=Sqrt)
    T: int = 2000
    self_conditioning: bool = False
    steps: int = 200
    clamp_from: float | None = None
    exact = False

    def __post_init__(self):
        check_kind(self.kind)
        if not 1 <= self.steps <= self.T:
            raise ValueError(f"The sampler takes 1 to T = {self.T} of the chain's steps, not {self.steps}.")

    def network(self, V: int, length: int, size) -> DiffusionLM:
        """The model of a recipe's `Size`."""
        config = VectorConfig(self.D, length, size.width, size.layers, size.heads, self.self_conditioning, size.dropout)
        return DiffusionLM(V, VectorTransformer(config), self.kind, self.schedule, self.sigma_0)

    def loss(
        self, model: DiffusionLM, x: Int[Tensor, "B L"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B L"]:
        """Not in nats per token: squared errors are part of it."""
        return diffusion_lm_loss(model, x, batch_times(x, generator), generator, self.T).as_code

    def nelbo(self, model: DiffusionLM, x, t, generator=None) -> Float[Tensor, "B L"]:
        """The bound, with the step that t falls into."""
        return diffusion_lm_nelbo_at(model, x, t, self.T, generator, model.rounded_x_hat)

    def sample(self, model: DiffusionLM, shape: tuple[int, int], generator: torch.Generator | None = None) -> Sample:
        return sample_diffusion_lm(
            model, self.T, shape, clamp_from=self.clamp_from, generator=generator, steps=self.steps
        )

    def samplers(self, model: DiffusionLM, shape: tuple[int, int], generator=None) -> Iterator[tuple[str, Sample]]:
        """(label, Sample) from few network calls to many, and clamped."""
        for steps, clamp_from in ((10, None), (50, None), (200, None), (200, 1.0)):
            steps = min(steps, self.T)
            sample = sample_diffusion_lm(model, self.T, shape, None, clamp_from, generator, steps=steps)
            yield f"{steps} of {self.T} steps, {'clamped' if clamp_from else 'not clamped'}", sample
