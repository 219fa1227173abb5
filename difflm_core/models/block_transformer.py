"""Block diffusion's network (BD3-LM, Arriola et al. 2025): the course's transformer, bidirectional inside a block and
causal from block to block.

It has the weights of a plain `Transformer`, name by name, so that a masked diffusion model can be trained on as a block
model. Block size 1 is an autoregressive model that reads a mask where its next token will stand; block size L is masked
diffusion.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models.attention import KeyValueCache
from difflm_core.models.block_attention import BlockAttention, Sight, block_causal_mask, training_mask, view_of
from difflm_core.models.transformer import Transformer, TransformerConfig


@dataclass(frozen=True)
class BlockConfig(TransformerConfig):
    """A `TransformerConfig` and the size of a block, which divides `length`."""

    block_size: int = 4

    def __post_init__(self):
        super().__post_init__()
        if self.block_size < 1 or self.length % self.block_size:
            raise ValueError(
                f"Blocks of {self.block_size} do not divide a text of {self.length}: choose a divisor of the length."
            )
        if self.causal or self.time_conditioning:
            raise ValueError(
                "A block model takes neither causal attention (block_size = 1 is that) nor a time input (its blocks "
                "are at different times): leave both off."
            )


class BlockTransformer(Transformer):
    """A `Denoiser` whose answer at a position depends on its own block and the blocks before, whatever follows.

    Three ways to run it: `hidden` on a page, or on what comes after a cache; `read` to fill the cache; and
    `hidden_beside` for training, all blocks at once.
    """

    config: BlockConfig

    def __init__(self, config: BlockConfig):
        super().__init__(config)
        for block in self.blocks:
            block.attention = BlockAttention(block.attention)

    @property
    def block_size(self) -> int:
        return self.config.block_size

    def hidden(
        self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None, cache: KeyValueCache | None = None
    ) -> Float[Tensor, "B L D"]:
        """The trunk on z_t, whose first token comes right after the cached ones. The cache is read, not written; t is
        ignored. With all blocks before a position finished, its answer is the one of `hidden_beside`.
        """
        return self._after(z_t, KeyValueCache() if cache is None else view_of(cache, self.config.layers))

    def read(self, x: Int[Tensor, "B L"], cache: KeyValueCache) -> None:
        """Add finished blocks to the cache: whole ones, without masks. Raises ValueError for anything else."""
        if x.ndim != 2 or x.shape[1] % self.block_size:
            raise ValueError(
                f"A cache takes whole blocks of {self.block_size} tokens, (batch, n * {self.block_size}), got "
                f"{tuple(x.shape)}."
            )
        if x.device.type == "cpu" and bool((x == self.mask_id).any()):
            raise ValueError(f"A finished block has no mask in it (id {self.mask_id}): fill it before it is read.")
        self._after(x, cache)

    def hidden_beside(self, z_t: Int[Tensor, "B L"], x: Int[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        """The trunk at every position of z_t, which sees the noisy tokens of its own block in z_t and the clean tokens
        of earlier blocks in x. One pass over 2 L tokens; both copies have the positions 0..L-1.
        """
        if z_t.shape != x.shape or z_t.ndim != 2 or x.shape[1] % self.block_size:
            raise ValueError(
                f"z_t and x are two copies of a text in whole blocks of {self.block_size}, got {tuple(z_t.shape)} and "
                f"{tuple(x.shape)}."
            )
        L = x.shape[1]
        self._check(z_t, None, 0)
        self._check(x, None, 0)
        place = torch.arange(L, device=x.device).repeat(2)
        mask = training_mask(L, self.block_size, x.device)
        return self._trunk(torch.cat([z_t, x], dim=1), place, mask, None)[:, :L]

    def _after(self, tokens: Int[Tensor, "B L"], cache: KeyValueCache) -> Float[Tensor, "B L D"]:
        past, new, size = cache.length, tokens.shape[1], self.block_size
        self._check(tokens, None, past)
        one_block = past // size == (past + new - 1) // size  # then nothing is hidden from it, and attention is faster
        mask = None if one_block else block_causal_mask(new, size, past, tokens.device)
        return self._trunk(tokens, torch.arange(past, past + new, device=tokens.device), mask, cache)

    def _trunk(
        self,
        tokens: Int[Tensor, "B L"],
        place: Int[Tensor, "L"],
        mask: Bool[Tensor, "L K"] | None,
        cache: KeyValueCache | None,
    ) -> Float[Tensor, "B L D"]:
        h, angles = self.embedding(tokens) + self.position(place), self.angles[place]
        for layer, block in enumerate(self.blocks):
            h = block(h, angles, None, Sight(mask, None if cache is None else cache.layer(layer)))
        return self.norm(h)
