"""How good is the bound? An estimate is worth nothing without the number of draws behind it and its standard error."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from difflm_core.objectives import stratified_times


@dataclass(frozen=True)
class Estimate:
    """A mean in nats per token, its standard error over `draws` passes, and what one pass looked at."""

    mean: float
    standard_error: float
    draws: int
    tokens: int

    @property
    def perplexity(self) -> float:
        return math.exp(self.mean)

    @property
    def bits(self) -> float:
        """Bits per token."""
        return self.mean / math.log(2)

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.standard_error:.4f} nats/token ({self.draws} draws of {self.tokens:,} tokens)"


Nelbo = Callable[[Int[Tensor, "B L"], Float[Tensor, "B"], torch.Generator | None], Float[Tensor, "B L"]]


@torch.no_grad()
def estimate_nelbo(
    nelbo: Nelbo,
    batches: Iterable[Int[Tensor, "B L"]] | Callable[[], Iterable],
    draws: int = 8,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> Estimate:
    """Average `nelbo(x, t, generator)` over the data, `draws` times with fresh stratified times and fresh noise.

    `batches` is a list of (B, L) tensors, or a function that returns an iterable of them (called once per draw: give
    one that makes new texts to include the uncertainty of the data as well). The standard error is over draws: with a
    fixed list it is the Monte Carlo error *for these texts*.
    """
    if draws < 2:
        raise ValueError(f"A standard error needs at least 2 draws, got {draws}.")
    passes, tokens = [], 0
    for _ in tqdm(range(draws), desc="bound", disable=not progress, mininterval=1, leave=False):
        total, tokens = 0.0, 0
        for x in batches() if callable(batches) else batches:
            t = stratified_times(len(x), generator, x.device)
            total += nelbo(x, t, generator).double().sum().item()
            tokens += x.numel()
        if not tokens:
            raise ValueError(
                "There is nothing to evaluate: the data has no batch (an iterator can be walked once only: pass "
                "a list, or a function that makes one)."
            )
        passes.append(total / tokens)
    means = torch.tensor(passes, dtype=torch.float64)
    return Estimate(means.mean().item(), means.std().item() / math.sqrt(draws), draws, tokens)
