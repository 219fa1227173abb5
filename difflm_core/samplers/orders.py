"""Deterministic orders: what is revealed next follows from the page alone, and so the sampler's law is known.

A rule looks at the canvas as it stands, and at the network's answer to it, never at a token just drawn. Then every text
has exactly one path from all masks to itself, and its probability is the product of the probabilities along it (DUEL,
arXiv 2603.01367); `evaluation.order_nll` computes it. Plans such as `confidence(T)`, and LLaDA's remasking, judge drawn
tokens: at a temperature above 0 many paths lead to one text, and no such product is its probability.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.samplers.categorical import draw
from difflm_core.samplers.masked import start_canvas
from difflm_core.samplers.plans import share_left
from difflm_core.samplers.sample import Sample, frame

# (where masks are, log p(x_i = v | z)) -> the positions to reveal now; log p is -inf where nothing is masked
OrderRule = Callable[[Bool[Tensor, "B L"], Float[Tensor, "B L V"]], Bool[Tensor, "B L"]]


def fixed_order(positions: Int[Tensor, "L"]) -> OrderRule:
    """One position per call, in this order whatever the text says: `torch.arange(L)` reads from left to right."""
    positions = torch.as_tensor(positions)
    if positions.ndim != 1 or not torch.equal(positions.sort().values.cpu(), torch.arange(len(positions))):
        raise ValueError(f"An order names each position 0..{len(positions) - 1} once, got {positions.tolist()}.")
    place = positions.argsort()  # when position i comes

    def rule(masked, log_p):
        if masked.shape[1] != len(place):
            raise ValueError(f"This order is for {len(place)} positions, the canvas has {masked.shape[1]}.")
        return largest(-place.to(masked.device).expand(masked.shape).double(), masked, 1)

    return rule


def surest(count: int = 1) -> OrderRule:
    """The `count` positions whose likeliest token has the largest probability. (For 0/1 answers: leftmost first.)"""
    check_count(count)
    return lambda masked, log_p: largest(log_p.amax(-1), masked, count)


def widest_margin(count: int = 1) -> OrderRule:
    """The `count` positions whose likeliest token is furthest ahead of the second, in probability."""
    check_count(count)

    def rule(masked, log_p):
        first, second = log_p.topk(2, dim=-1).values.exp().unbind(-1)
        return largest(first - second, masked, count)

    return rule


def lowest_entropy(count: int = 1) -> OrderRule:
    """The `count` positions about which the network is least uncertain, in nats."""
    check_count(count)
    return lambda masked, log_p: largest(-torch.special.entr(log_p.exp()).sum(-1), masked, count)


def largest(score: Float[Tensor, "B L"], masked: Bool[Tensor, "B L"], count: int) -> Bool[Tensor, "B L"]:
    """The `count` masked positions with the largest scores, fewer where fewer are left; of equal ones the leftmost."""
    rank = score.masked_fill(~masked, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return masked & (rank < count)


def check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"Each call reveals at least one position, got count = {count}.")


def look(
    denoiser: Denoiser, rule: OrderRule, z: Int[Tensor, "B L"]
) -> tuple[Bool[Tensor, "B L"], Float[Tensor, "N V"]]:
    """One call of the network: which positions the rule reveals now, and log p of every token there, row-major.

    The time shown is the share of masks on the canvas, as in `samplers.left_to_right`.
    """
    masked = z == denoiser.V
    t = share_left(masked, torch.zeros(len(z), 1, dtype=torch.long, device=z.device))[:, 0]
    logits = denoiser.logits(denoiser.hidden(z, t)[masked])  # (M, V), masks only
    logits = logits if logits.dtype.itemsize > 4 else logits.float()
    log_p = logits.new_full((*z.shape, logits.shape[-1]), -torch.inf)
    log_p[masked] = logits.log_softmax(-1)
    chosen = rule(masked, log_p) & masked
    if not bool((chosen.any(1) | ~masked.any(1)).all()):
        raise ValueError("The rule revealed nothing in a row that still has masks: it must name at least one of them.")
    return chosen, log_p[chosen]


@torch.no_grad()
def sample_in_order(
    denoiser: Denoiser,
    rule: OrderRule,
    shape: tuple[int, int],
    prompt: Int[Tensor, "B L"] | None = None,
    generator: torch.Generator | None = None,
    record: bool = False,
    device=None,
) -> Sample:
    """Fill a canvas (B, L) following the rule, tokens drawn at temperature 1. `prompt` is a canvas with masks where
    text is wanted.
    """
    z = start_canvas(denoiser, shape, prompt, device)
    calls = torch.zeros(len(z), dtype=torch.long, device=z.device)
    nothing = torch.zeros_like(z, dtype=torch.bool)
    frames = [frame(z, torch.ones(len(z), device=z.device), nothing, calls=calls)] if record else None
    while bool((live := (z == denoiser.V).any(1)).any()):
        rows, time = live.nonzero()[:, 0], (z == denoiser.V).float().mean(1)
        chosen, log_p = look(denoiser, rule, z[rows])
        z[rows] = z[rows].masked_scatter(chosen, draw(log_p, generator))
        calls += live
        if record:
            written = nothing.clone()
            written[rows] = chosen
            frames.append(frame(z, time, written, log_p.exp(), calls))
    return Sample(z, calls, frames)
