"""Exact draws from a Markov chain, many texts at once, by inverse cumulative distribution.

A grammar's rows are almost empty (a state has few successors), so each row keeps only its non-zero entries, sorted: a
draw then looks through a dozen numbers instead of hundreds.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Table(NamedTuple):
    cdf: Float[Tensor, "rows K"]  # cumulative probability of the row's K likeliest outcomes
    outcome: Int[Tensor, "rows K"]


def table(rows: Float[Tensor, "rows N"]) -> Table:
    """Rows of probabilities prepared for `draw`; K is the largest number of non-zero entries in a row."""
    K = int((rows > 0).sum(-1).max())
    ordered, outcome = rows.sort(dim=-1, descending=True, stable=True)
    cdf = ordered[:, :K].cumsum(-1)
    # The sum can end at 1 - 1e-16; dividing makes it exactly 1, above every u. Outcomes of probability 0 share the
    # cumulative value of the one before them, so the first entry above u is never one of them.
    return Table(cdf / cdf[:, -1:], outcome[:, :K])


def draw(rows: Table, which: Int[Tensor, "n"], generator: torch.Generator | None) -> Int[Tensor, "n"]:
    """One outcome from row which[j] for every j."""
    u = torch.rand(len(which), 1, dtype=torch.float64, generator=generator)
    place = torch.searchsorted(rows.cdf[which], u, right=True)
    return rows.outcome[which].gather(1, place).squeeze(1)


def sample_chain(initial: Table, transition: Table, emission: Table, n: int, L: int,
                 generator: torch.Generator | None) -> Int[Tensor, "n L"]:
    """n texts of L words: walk the states, let each emit a word."""
    x = torch.empty(n, L, dtype=torch.long)
    state = draw(initial, torch.zeros(n, dtype=torch.long), generator)
    for i in range(L):
        x[:, i] = draw(emission, state, generator)
        state = draw(transition, state, generator)
    return x


def sample_rows(rows: Float[Tensor, "L V"], n: int, generator: torch.Generator | None) -> Int[Tensor, "n L"]:
    """n texts whose word i comes from rows[i], independently of the others."""
    L = len(rows)
    return draw(table(rows), torch.arange(L).repeat(n), generator).view(n, L)
