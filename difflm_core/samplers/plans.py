"""Plans: in which order, and how many at a time, a masked sampler reveals its tokens.

In masked diffusion the moment at which a position is revealed does not depend on what the text says. So the whole
schedule of an ancestral sampler can be drawn before the network is called at all, and the network is then called only
in steps where something is revealed. A plan is that schedule:

- `arrange(masked, generator)` gives every masked position a `group` (positions of one group are revealed together,
  lower groups first), the `time` that the network is shown, and a `window` (only positions of the lowest unfinished
  window may be revealed).
- `select`, if the plan has one, replaces the fixed positions by a choice: given the confidence of every candidate and
  the planned count, it says which to reveal.

Exactness: `ancestral(T)` and `first_hitting()` draw from the reverse process (T steps, and its limit T -> infinity);
the others are heuristics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.processes import Linear, Schedule, time_of


@dataclass(frozen=True)
class Arrangement:
    """Per position: the group it is revealed in, the time shown to the network then, and its window. All (B, L);
    visible positions are ignored.
    """

    group: Int[Tensor, "B L"]
    time: Float[Tensor, "B L"]
    window: Int[Tensor, "B L"]


Select = Callable[[Float[Tensor, "B L"], Int[Tensor, "B"]], Bool[Tensor, "B L"]]


@dataclass(frozen=True)
class Plan:
    arrange: Callable[[Bool[Tensor, "B L"], torch.Generator | None], Arrangement]
    select: Select | None = None


def ancestral(T: int, schedule: Schedule | None = None) -> Plan:
    """The T-step ancestral sampler of MDLM (Eq. 6): each position is revealed in the step that contains its own random
    moment.

    A position is still masked at t with probability 1 - alpha_t, so its moment solves 1 - alpha_t = u with u uniform.
    """
    check_steps(T)
    schedule = schedule or Linear()

    def arrange(masked, generator):
        u = torch.rand(masked.shape, generator=generator, device=masked.device)
        step = (time_of(schedule, 1 - u) * T).ceil().clamp(1, T)  # the step from step/T to (step-1)/T
        return Arrangement((T - step).long(), step / T, torch.zeros_like(masked, dtype=torch.long))

    return Plan(arrange)


def first_hitting(schedule: Schedule | None = None) -> Plan:
    """The limit T -> infinity, exactly, in at most L calls: one position at a time, at its own moment (Zheng et al.
    2024, Prop. 4.1).

    The paper draws tau_{n-1} = u^(1/n) tau_n one after the other; those are the order statistics of n uniform numbers,
    drawn here at once and sorted.
    """
    schedule = schedule or Linear()

    def arrange(masked, generator):
        u = torch.rand(masked.shape, generator=generator, device=masked.device)
        first_is_latest = u.masked_fill(~masked, -1).argsort(dim=1, descending=True).argsort(dim=1)
        return Arrangement(first_is_latest, time_of(schedule, 1 - u), torch.zeros_like(first_is_latest))

    return Plan(arrange)


def left_to_right() -> Plan:
    """Reading order, one token per call: a masked model used as an autoregressive one."""

    def arrange(masked, generator):
        rank = rank_of_masked(masked)
        return Arrangement(rank, share_left(masked, rank), torch.zeros_like(rank))

    return Plan(arrange)


def confidence(T: int) -> Plan:
    """T steps of (nearly) equal counts; in each, the positions whose drawn token has the largest probability (MaskGIT;
    LLaDA's low-confidence remasking).
    """
    check_steps(T)

    def arrange(masked, generator):
        rank, n = rank_of_masked(masked), masked.sum(1, keepdim=True)
        per_step, extra = n // T, n % T  # the first `extra` steps reveal one more
        early = extra * (per_step + 1)
        group = torch.where(rank < early, rank // (per_step + 1), extra + (rank - early) // per_step.clamp_min(1))
        start_of_group = torch.where(group < extra, group * (per_step + 1), early + (group - extra) * per_step)
        return Arrangement(group, share_left(masked, start_of_group), torch.zeros_like(rank))

    return Plan(arrange, select_most_confident)


def counts(numbers: Sequence[int]) -> Plan:
    """Random order, as `ancestral`, but with planned numbers: numbers[k] positions in call k, e.g. `counts([1, 1, 1, 1,
    2, 2, 2, 2])` for 12 positions in 8 calls. Where `ancestral` tosses a coin per position, some steps reveal many.

    A list that does not sum to a row's number of masks is taken as shares of it, rounded: every call still reveals its
    part, and calls left with nothing are not made. Alone on the page, words have nobody to agree with yet, so few at
    first and more later is better than the reverse (lesson 10). Exact only if no call reveals two positions.
    """
    numbers = torch.as_tensor(list(numbers))
    if numbers.ndim != 1 or not len(numbers) or numbers.is_floating_point() or int(numbers.min()) < 1:
        raise ValueError(f"Planned counts are whole numbers, at least 1 for each call, got {numbers.tolist()}.")
    shares = numbers.cumsum(0).double() / numbers.sum()

    def arrange(masked, generator):
        u = torch.rand(masked.shape, generator=generator, device=masked.device)
        rank = u.masked_fill(~masked, 2).argsort(dim=1).argsort(dim=1)
        ends = (shares.to(masked.device) * masked.sum(1, keepdim=True)).round().long()  # (B, calls), revealed by then
        group = torch.searchsorted(ends, rank, right=True).clamp_max(len(numbers) - 1)
        starts = torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], dim=1)
        return Arrangement(group, share_left(masked, starts.gather(1, group)), torch.zeros_like(rank))

    return Plan(arrange)


def threshold(p: float) -> Plan:
    """Every position whose drawn token has probability above p, and at least the best one (Fast-dLLM, Wu et al. 2025).
    The number of calls adapts to the text.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"The threshold is a probability in [0, 1], got {p}.")

    def arrange(masked, generator):
        rank = rank_of_masked(masked)
        return Arrangement(rank, share_left(masked, rank), torch.zeros_like(rank))

    def select(confidence, count):
        return (confidence > p) | select_most_confident(confidence, torch.ones_like(count))

    return Plan(arrange, select)


def blocks(size: int, plan: Plan) -> Plan:
    """Blocks of `size` positions from left to right, each filled by the inner plan (semi-autoregressive, LLaDA section
    2.4).
    """
    if size < 1:
        raise ValueError(f"A block holds at least one position, got size = {size}.")

    def arrange(masked, generator):
        if masked.shape[1] % size:
            raise ValueError(f"Blocks of {size} do not divide a canvas of {masked.shape[1]}: choose a divisor.")
        window = (torch.arange(masked.shape[1], device=masked.device) // size).expand(masked.shape)
        group = torch.zeros_like(window)
        for block in range(masked.shape[1] // size):
            inner = plan.arrange(masked & (window == block), generator)
            group = torch.where(window == block, block * 2**32 + inner.group, group)
        rank = (group.masked_fill(~masked, torch.iinfo(torch.long).max)).argsort(dim=1, stable=True).argsort(dim=1)
        return Arrangement(group, share_left(masked, rank), window)

    return Plan(arrange, plan.select)


def select_most_confident(confidence: Float[Tensor, "B L"], count: Int[Tensor, "B"]) -> Bool[Tensor, "B L"]:
    """The `count` largest entries of each row (non-candidates are -inf and are never chosen)."""
    rank = confidence.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (rank < count[:, None]) & ~confidence.isneginf()  # NaN counts: a step always reveals something


def rank_of_masked(masked: Bool[Tensor, "B L"]) -> Int[Tensor, "B L"]:
    """0, 1, 2, ... over the masked positions from left to right."""
    return (masked.long().cumsum(1) - 1).clamp_min(0)


def share_left(masked: Bool[Tensor, "B L"], revealed: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """The share of the canvas still masked after `revealed` tokens: on the linear schedule, the time at which this is
    expected.
    """
    return (masked.sum(1, keepdim=True) - revealed).clamp_min(0) / masked.shape[1]


def check_steps(T: int) -> None:
    if T < 1:
        raise ValueError(f"Sampling needs at least one step, got T = {T}.")
