"""Sampling block by block with cached keys and values, from a network made for it (`BlockTransformer`).

A finished block is read once, and what it left in the cache serves all later blocks: exactly, since no block looks
ahead. (On a bidirectional network the same cache is an approximation: there `plans.blocks` fills the blocks in order,
looking at the whole canvas in each call.) Prompts may have any length, and a text may end before its canvas does.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models import BlockTransformer, KeyValueCache
from difflm_core.models.block_attention import view_of
from difflm_core.samplers.categorical import draw, probabilities
from difflm_core.samplers.masked import start_canvas
from difflm_core.samplers.orders import OrderRule, look
from difflm_core.samplers.sample import Frame, Sample, frame


@torch.no_grad()
def sample_blocks(
    model: BlockTransformer,
    rule: OrderRule,
    shape: tuple[int, int],
    prompt: Int[Tensor, "B P"] | None = None,
    end: int | None = None,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    record: bool = False,
    device=None,
) -> Sample:
    """Write (B, L) tokens in blocks from left to right; inside a block the rule says what each call reveals.

    `at_random(1, generator)` draws from the model's own law (first-hitting; its blocks know no time); `surest(n)`,
    `sure_enough(p)` and `entropy_bound(nats)` are faster or sharper. `prompt` is a prefix of P < L clean tokens, P any
    length. With `end`, a row stops after the block in which that token appears behind the prompt, and is `end` from
    there on. `network_calls` counts, per row, the calls that wrote and one for every time blocks were read into the
    cache. L is a whole number of blocks. Raises ValueError for another L, a prompt with masks in it, or one too long.
    """
    z = start_canvas(model, shape, None, device)
    size, known = model.block_size, check_prompt(model, shape, prompt)
    if known:
        z[:, :known] = prompt
    if end is not None and not 0 <= end < model.V:
        raise ValueError(f"end is one of the tokens 0..{model.V - 1}, got {end}.")
    rows, cache = torch.arange(len(z), device=z.device), KeyValueCache()  # the texts that have not ended
    calls = torch.zeros_like(rows)
    frames = [page(model, z, calls)] if record else None
    for start in range(known // size * size, shape[1], size):
        here = slice(start, start + size)
        if start > cache.length:
            model.read(z[rows, cache.length : start], cache)
            calls[rows] += 1
        while bool((live := (z[rows, here] == model.V).any(1)).any()):
            now, past = rows[live], cache if bool(live.all()) else view_of(cache, model.config.layers, live)
            chosen, log_p = look(AfterCache(model, past), rule, z[now, here])  # (N, size), (M, V)
            z[now, here] = z[now, here].masked_scatter(chosen, draw(log_p, generator, temperature, top_p))
            calls[now] += 1
            if record:
                written = torch.zeros_like(z, dtype=torch.bool)
                written[now, here] = chosen
                frames.append(page(model, z, calls, written, probabilities(log_p, temperature, top_p)))
        if end is not None:
            going = ~stop(z, rows, slice(max(known, start), start + size), end)
            rows, cache = rows[going], view_of(cache, model.config.layers, going)
            if not len(rows):
                break
    return Sample(z, calls, frames)


def block_by_block(size: int, rule: OrderRule) -> OrderRule:
    """The rule inside the first block of `size` positions that has masks, for samplers that see the whole canvas.

    With it `sample_in_order` writes what `sample_blocks` writes, without a cache, and `evaluation.order_nll` gives the
    likelihood of a deterministic rule.
    """
    if size < 1:
        raise ValueError(f"A block holds at least one position, got size = {size}.")

    def inside(masked, log_p):
        window = (torch.arange(masked.shape[1], device=masked.device) // size).expand(masked.shape)
        first = window.masked_fill(~masked, masked.shape[1]).amin(1, keepdim=True)
        here = masked & (window == first)
        return rule(here, log_p.masked_fill(~here[..., None], -torch.inf))

    return inside


class AfterCache:
    """A `Denoiser` of the block that follows a cache. It is shown no time."""

    def __init__(self, model: BlockTransformer, cache: KeyValueCache):
        self.model, self.cache, self.V = model, cache, model.V

    def hidden(self, z_t: Int[Tensor, "N size"], t: Float[Tensor, "N"] | None = None) -> Float[Tensor, "N size D"]:
        return self.model.hidden(z_t, None, self.cache)

    def logits(self, h: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        return self.model.logits(h)


def stop(z: Int[Tensor, "B L"], rows: Int[Tensor, "N"], where: slice, end: int) -> Bool[Tensor, "N"]:
    """Which of the rows have written `end` in z[:, where]; all that follows it on their canvas is set to `end` too."""
    ended = (z[rows, where] == end).cumsum(1) > 0  # at the end token and after it
    stopped = ended[:, -1]
    z[rows, where] = z[rows, where].masked_fill(ended, end)
    z[rows[stopped], where.stop :] = end
    return stopped


def check_prompt(model: BlockTransformer, shape: tuple[int, int], prompt: Int[Tensor, "B P"] | None) -> int:
    """The number of tokens that are known from the start."""
    B, L = shape
    if L % model.block_size:
        raise ValueError(f"Blocks of {model.block_size} do not divide a canvas of {L}: choose a multiple.")
    if prompt is None:
        return 0
    if prompt.ndim != 2 or len(prompt) != B or prompt.shape[1] >= L:
        raise ValueError(
            f"The prompt must be (batch, fewer than {L} tokens) for a canvas of {tuple(shape)}, got "
            f"{tuple(prompt.shape)}."
        )
    if prompt.numel() and not 0 <= int(prompt.min()) <= int(prompt.max()) < model.V:
        raise ValueError(
            f"A prompt of blocks is a prefix of clean tokens, ids in 0..{model.V - 1} and no mask ({model.V}), got "
            f"{int(prompt.min())}..{int(prompt.max())}."
        )
    return prompt.shape[1]


def page(model: BlockTransformer, z: Int[Tensor, "B L"], calls: Int[Tensor, "B"], written=None, p=None) -> Frame:
    """This moment. Its time is the share of the canvas that is still masked; the network is shown none."""
    written = torch.zeros_like(z, dtype=torch.bool) if written is None else written
    return frame(z, (z == model.V).float().mean(1), written, p, calls)
