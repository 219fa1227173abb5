"""Block diffusion's bound: the chain rule over blocks, and inside each the masked bound (BD3-LM, Arriola et al. 2025).

    -log p(x) = sum over blocks b of  -log p(x^b | x^{<b})  <=  sum over b of  NELBO(x^b | x^{<b}),

each with a time of its own. To a masked objective a block is a short text, and the clean blocks before it belong to the
network: so the estimators of masked.py serve, on B L / size rows of `size` tokens.

Block size L is masked diffusion. Block size 1 is the chain rule, no bound; counting masks gives it without noise, since
a block of one token has exactly one mask. Drawn times give its mean too, at a price: token i then costs -log p(x_i) / t
with probability t. Most of what a small block pays for its noise comes from weights 1/t at small t, hence `clipped`
times for training.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import BlockTransformer
from difflm_core.objectives.masked import masked_nelbo_by_count, weighted_cross_entropy
from difflm_core.processes import DiscreteProcess
from difflm_core.processes.schedules import check_times


def block_nelbo(
    process: DiscreteProcess,
    model: BlockTransformer,
    x: Int[Tensor, "B L"],
    t: Float[Tensor, "B K"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B L"]:
    """One-sample estimate, nats per token and weighted, one time for each of the K blocks; unbiased for t ~ U(0, 1).

    `masked_nelbo` on rows that are blocks, but for the shape of the draw: one number per token of a text, so that a
    batch of texts can be dealt to several processes.
    """
    rows, t = in_blocks(model, x, t), t.flatten()
    check_times(t)
    process.check_tokens(x)
    alpha = process.schedule.alpha(t)
    u = torch.rand(x.shape, generator=generator, device=x.device).reshape(rows.shape)
    z_t = torch.where(u < alpha[:, None], rows, process.mask_id)
    weight = -process.schedule.dalpha(t) / (1 - alpha)  # (BK,)
    return weighted_cross_entropy(process, EachBlock(model, x), rows, z_t, t, weight).view(x.shape)


def block_nelbo_by_count(
    process: DiscreteProcess,
    model: BlockTransformer,
    x: Int[Tensor, "B L"],
    t: Float[Tensor, "B K"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B L"]:
    """The same bound with exactly n masks in a block, n = ceil(t size), and weight size/n. With blocks of one token
    this is -log p(x_i | x_{<i}) itself.
    """
    rows = in_blocks(model, x, t)
    return masked_nelbo_by_count(process, EachBlock(model, x), rows, t.flatten(), generator).view(x.shape)


def block_times(t: Float[Tensor, "B"], blocks: int) -> Float[Tensor, "B K"]:
    """One time per block from one per row: t, t + 1/K, t + 2/K, ... modulo 1. Each is uniform if t is, and together
    they cover [0, 1] evenly; which block is earliest is as random as t.
    """
    check_times(t)
    if blocks < 1:
        raise ValueError(f"A text has at least one block, got {blocks}.")
    return (t[:, None] + torch.arange(blocks, device=t.device) / blocks) % 1


def clipped(t: Float[Tensor, "*B"], low: float, high: float) -> Float[Tensor, "*B"]:
    """Times in [low, high] from times in [0, 1]: training on fewer levels of noise, with less noise in the gradient.

    The loss at such times is no bound; every report takes the whole [0, 1]. BD3-LM searches for the interval of least
    variance (see `loss_variance`) for each block size; for blocks of one token it is [1, 1], all masked.
    """
    check_clip(low, high)
    return low + (high - low) * t


def check_clip(low: float, high: float) -> None:
    if not 0 <= low <= high <= 1 or high == 0:
        raise ValueError(f"Clipped times lie in an interval 0 <= low <= high <= 1, high > 0, got [{low}, {high}].")


@torch.no_grad()
def loss_variance(
    process: DiscreteProcess,
    model: BlockTransformer,
    x: Int[Tensor, "B L"],
    low: float = 0.0,
    high: float = 1.0,
    draws: int = 8,
    generator: torch.Generator | None = None,
) -> float:
    """Variance over texts, masks and times of a text's loss, in nats per token; times independent in [low, high]."""
    if draws < 1 or draws * len(x) < 2:
        raise ValueError(f"A variance needs two losses or more, got {draws} draws of {len(x)} texts.")
    shape = (len(x), x.shape[1] // model.block_size)
    losses = []
    for _ in range(draws):
        t = clipped(torch.rand(shape, generator=generator, device=x.device), low, high)
        losses.append(block_nelbo(process, model, x, t, generator).mean(1))
    return torch.cat(losses).double().var().item()


class EachBlock:
    """A `Denoiser` of blocks: row b of text x answers for its block, with the blocks before it in x as they are."""

    def __init__(self, model: BlockTransformer, x: Int[Tensor, "B L"]):
        self.model, self.x, self.V = model, x, model.V
        self.rows_at_once = getattr(model, "rows_at_once", None)

    def hidden(self, z_t: Int[Tensor, "BK size"], t: Float[Tensor, "BK"] | None = None) -> Float[Tensor, "BK size D"]:
        h = self.model.hidden_beside(z_t.reshape(self.x.shape), self.x)
        return h.reshape(*z_t.shape, h.shape[-1])

    def logits(self, h: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        return self.model.logits(h)


def in_blocks(model: BlockTransformer, x: Int[Tensor, "B L"], t: Float[Tensor, "B K"]) -> Int[Tensor, "BK size"]:
    """The blocks of all texts, one a row."""
    size = model.block_size
    if x.ndim != 2 or x.shape[1] % size:
        raise ValueError(f"Blocks of {size} do not divide texts of shape {tuple(x.shape)}: choose a divisor.")
    if tuple(t.shape) != (len(x), x.shape[1] // size):
        raise ValueError(
            f"Each block has its own time: t must be {(len(x), x.shape[1] // size)}, got {tuple(t.shape)}; see "
            "`block_times`."
        )
    return x.reshape(-1, size)
