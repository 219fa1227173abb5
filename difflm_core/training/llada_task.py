"""LLaDA's pre-training as a task (Nie et al. 2025): the 1/t loss, no time input, now and then a shorter text."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import Transformer
from difflm_core.objectives import masked_nelbo, masked_nelbo_by_count
from difflm_core.processes import masked
from difflm_core.samplers import Sample, confidence, in_random_order, sample_llada
from difflm_core.training.fixed_rows import rows_of
from difflm_core.training.parts import batch_times
from difflm_core.training.tasks import transformer


@dataclass(frozen=True)
class LLaDA:
    """`short` is the share of the batches that are cut to a random length, so that the model meets shorter canvases
    too (1 % in the paper).
    """

    short: float = 0.01
    exact = False

    def __post_init__(self):
        if not 0 <= self.short <= 1:
            raise ValueError(f"short is a share of the batches, in [0, 1], got {self.short}.")

    def network(self, V: int, length: int, size) -> Transformer:
        if size.time_conditioning:
            raise ValueError("LLaDA's network is shown no time: leave time_conditioning off.")
        return transformer(V, length, size)

    def loss(
        self, model: Transformer, x: Int[Tensor, "B L"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B l"]:
        """Nats per token of the first l tokens; l is L but for the short batches, where it is uniform on 1..L."""
        L = x.shape[1]
        lot, place = (torch.rand(1, generator=generator, device=x.device).item() for _ in range(2))
        kept = min(L, 1 + int(place * L)) if lot < self.short else L
        t, x, process = batch_times(x, generator), x[:, :kept], masked(model.V)
        return masked_nelbo(process, model, x, t, generator, rows_of(model, process.schedule, x))

    def nelbo(self, model: Transformer, x, t, generator=None) -> Float[Tensor, "B L"]:
        """Counting masks: LLaDA's estimator of likelihoods (Eq. 6)."""
        return masked_nelbo_by_count(masked(model.V), model, x, t, generator)

    def sample(self, model: Transformer, shape: tuple[int, int], generator: torch.Generator | None = None) -> Sample:
        """One token a call, in random order: a draw from the model's own law."""
        return self._sampled(model, shape, shape[1], in_random_order, generator)

    def samplers(self, model: Transformer, shape: tuple[int, int], generator=None) -> Iterator[tuple[str, Sample]]:
        """(label, Sample): both rules with few calls, then one token a call."""
        for T in (4, 8):
            for name, rule in (("low-confidence", confidence), ("random", in_random_order)):
                yield f"{name} remasking, {T} calls", self._sampled(model, shape, T, rule, generator)
        yield "one token a call", self.sample(model, shape, generator)

    def _sampled(self, model, shape, T, rule, generator) -> Sample:
        nothing = torch.zeros(shape[0], 0, dtype=torch.long, device=model.embedding.weight.device)
        return sample_llada(model, nothing, shape[1], T, None, rule, 0.0, 1.0, generator)
