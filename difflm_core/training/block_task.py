"""Block diffusion (BD3-LM) as a task: trained on the block bound, reported by counting, sampled with a cache."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import BlockConfig, BlockTransformer
from difflm_core.objectives import block_nelbo, block_nelbo_by_count, block_times, clipped
from difflm_core.objectives.block import check_clip
from difflm_core.processes import Linear, masked
from difflm_core.samplers import Sample, at_random, entropy_bound, sample_blocks, sure_enough
from difflm_core.training.parts import batch_times


@dataclass(frozen=True)
class Block:
    """Blocks of `block_size` tokens, which divide the text, written in order. Training draws times from [low, high];
    [1, 1] with blocks of one token is autoregressive training.
    """

    block_size: int = 4
    low: float = 0.0
    high: float = 1.0
    schedule: Linear = field(default_factory=Linear)

    def __post_init__(self):
        check_clip(self.low, self.high)
        if self.block_size < 1:
            raise ValueError(f"A block holds at least one token, got block_size = {self.block_size}.")

    @property
    def exact(self) -> bool:
        return self.block_size == 1

    def network(self, V: int, length: int, size) -> BlockTransformer:
        """The model of a recipe's `Size`."""
        shape = (size.width, size.layers, size.heads)
        return BlockTransformer(
            BlockConfig(V, length, *shape, False, size.time_conditioning, size.dropout, self.block_size)
        )

    def loss(
        self, model: BlockTransformer, x: Int[Tensor, "B L"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B L"]:
        t = self.times(batch_times(x, generator), x)
        return block_nelbo(masked(model.V, self.schedule), model, x, clipped(t, self.low, self.high), generator)

    def nelbo(self, model: BlockTransformer, x, t, generator=None) -> Float[Tensor, "B L"]:
        """The bound on all of [0, 1], whatever the training times."""
        return block_nelbo_by_count(masked(model.V, self.schedule), model, x, self.times(t, x), generator)

    def times(self, t: Float[Tensor, "B"], x: Int[Tensor, "B L"]) -> Float[Tensor, "B K"]:
        return block_times(t, x.shape[1] // self.block_size)

    def sample(
        self, model: BlockTransformer, shape: tuple[int, int], generator: torch.Generator | None = None
    ) -> Sample:
        return sample_blocks(model, at_random(1, generator), shape, generator=generator)

    def samplers(self, model: BlockTransformer, shape: tuple[int, int], generator=None) -> Iterator[tuple[str, Sample]]:
        """(label, Sample): two rules that write several tokens a call, and one at a time."""
        rules = {
            "tokens surer than 0.9": sure_enough(0.9),
            "entropy bound 0.1 nats": entropy_bound(0.1),
            "one token a call": at_random(1, generator),
        }
        for name, rule in rules.items():
            yield f"blocks of {self.block_size}, {name}", sample_blocks(model, rule, shape, generator=generator)
