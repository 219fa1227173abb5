"""Noise that looks like writing errors: some words replaced, put in, or left out (the edit stage of Seed Diffusion,
arXiv 2508.02193).

A network trained on masks alone was never asked about a visible word: it takes each for true. After most of its
training, texts with a few wrong words and no mask teach it to doubt them. How many errors a text has is a budget, which
grows with the time.

Substitutions leave every word in its place. Insertions and deletions move all that follows, and a canvas has a fixed
length: what is pushed over its end is lost, and where a word is missing `filler` moves in. The network must answer
for *positions*, so after one insertion every later position has a wrong word. That is a much harder lesson than a
substitution, and what a fixed canvas allows of it.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.processes.schedules import check_times

SUBSTITUTE, INSERT, DELETE = range(3)


def edit_budget(t: Float[Tensor, "B"], length: int, most: float = 0.25) -> Int[Tensor, "B"]:
    """How many errors a text of `length` tokens gets at time t: none at 0, up to the share `most` of it at 1."""
    check_times(t)
    if not 0 <= most <= 1:
        raise ValueError(f"most is the largest share of wrong tokens, in [0, 1], got {most}.")
    return (t * most * length).round().long()


def substituted(
    x: Int[Tensor, "B L"], budget: Int[Tensor, "B"], V: int, generator: torch.Generator | None = None
) -> Int[Tensor, "B L"]:
    """Exactly `budget` tokens of each row replaced (all, where a row is shorter), each by another one of the V, all
    equally likely.
    """
    check_edits(x, budget, V)
    rank = torch.rand(x.shape, generator=generator, device=x.device).argsort(dim=1).argsort(dim=1)
    other = torch.randint(1, V, x.shape, generator=generator, device=x.device)  # how far to step: never 0
    return torch.where(rank < budget[:, None], (x + other) % V, x)


def inserted(x: Int[Tensor, "B L"], place: Int[Tensor, "B"], token: Int[Tensor, "B"]) -> Int[Tensor, "B L"]:
    """`token` at `place`; what stood there and behind moves one to the right, the last token is lost."""
    index = torch.arange(x.shape[1], device=x.device)
    moved = x.gather(1, (index - (index > place[:, None]).long()).clamp_min(0))
    return torch.where(index == place[:, None], token[:, None], moved)


def deleted(x: Int[Tensor, "B L"], place: Int[Tensor, "B"], filler: int) -> Int[Tensor, "B L"]:
    """The token at `place` left out; what stood behind moves one to the left, `filler` comes in at the end."""
    longer = torch.cat([x, torch.full_like(x[:, :1], filler)], dim=1)
    index = torch.arange(x.shape[1], device=x.device)
    return longer.gather(1, index + (index >= place[:, None]).long())


def edited(
    x: Int[Tensor, "B L"],
    budget: Int[Tensor, "B"],
    V: int,
    filler: int,
    generator: torch.Generator | None = None,
    kinds: tuple[int, ...] = (SUBSTITUTE, INSERT, DELETE),
) -> Int[Tensor, "B L"]:
    """`budget` edits of each row, one after the other, of `kinds` that are equally likely; places are even over the
    text before its last run of `filler`. As long as only `filler` is pushed over the end, the text is at a Levenshtein
    distance of at most `budget`; a real word that is lost there counts as one edit more.
    """
    check_edits(x, budget, V)
    if not 0 <= filler < V or not kinds or not set(kinds) <= {SUBSTITUTE, INSERT, DELETE}:
        raise ValueError(f"filler is a token in 0..{V - 1} and kinds are of 0, 1, 2; got {filler} and {kinds}.")
    z, allowed = x.clone(), torch.tensor(kinds, device=x.device)
    for step in range(int(budget.max()) if len(budget) else 0):
        u, v = torch.rand(2, len(x), generator=generator, device=x.device)
        kind = allowed[torch.randint(len(kinds), (len(x),), generator=generator, device=x.device)]
        token = torch.randint(V, (len(x),), generator=generator, device=x.device)
        size = text_sizes(z, filler)
        place = (u * (size + (kind == INSERT).long())).long().clamp_max(x.shape[1] - 1)  # also behind the last word
        now = z.gather(1, place[:, None])[:, 0]
        new = (now + 1 + (v * (V - 1)).long().clamp_max(V - 2)) % V  # another word
        swapped = z.scatter(1, place[:, None], new[:, None])
        results = torch.stack([swapped, inserted(z, place, token), deleted(z, place, filler)])
        result = results[kind, torch.arange(len(x), device=x.device)]
        due = (step < budget) & ((size > 0) | (kind == INSERT))
        z = torch.where(due[:, None], result, z)
    return z


def text_sizes(x: Int[Tensor, "B L"], filler: int) -> Int[Tensor, "B"]:
    """Tokens of each row before its last run of `filler`."""
    words = torch.arange(1, x.shape[1] + 1, device=x.device) * (x != filler)
    return words.amax(1)


def check_edits(x: Int[Tensor, "B L"], budget: Int[Tensor, "B"], V: int) -> None:
    if V < 2:
        raise ValueError(f"Another token than the one there needs V >= 2, got {V}.")
    if tuple(budget.shape) != (len(x),) or (len(budget) and int(budget.min()) < 0):
        raise ValueError(f"The budget is a number of edits for each row, 0 or more, got {budget.tolist()}.")
