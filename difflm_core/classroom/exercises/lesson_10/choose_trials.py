"""Exercise 10.3, its trials: thousands of rows of two kinds, and how often each place must be chosen."""

from itertools import permutations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from difflm_core.classroom.exercises.spies import seeded

B, L = 6000, 6
SCORES = torch.tensor([[0.5, -1.0, 2.0, 0.0, 1.5, -0.5], [3.0, 3.0, -0.5, 1.0, 0.0, 2.0]], dtype=torch.float64)
FREE_KINDS = torch.tensor([[True] * 6, [False, False, True, True, True, True]])  # a prompt of two words in odd rows
SCORE, FREE = SCORES.repeat(B // 2, 1), FREE_KINDS.repeat(B // 2, 1)
# s: how many of 6, and of 4, places. Rounding down, to the nearest, or counting given words gives other numbers.
COUNTS = {0.4: (3, 2), 0.6: (4, 3), 0.5: (3, 2), 0.0: (0, 0), 1.0: (6, 4)}
TEMPERATURES = (1.0, 2.0, 0.5)


def chosen(choose, s: float, temperature: float = 1.0, seed: int = 0) -> Bool[Tensor, "B L"]:
    return choose(SCORE.clone(), s, temperature, FREE.clone(), seeded(seed))


def by_kind(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The rows without a prompt, and those with one."""
    return rows[0::2], rows[1::2]


def inclusion(temperature: float, sign: float = 1.0, s: float = 0.4) -> Float[Tensor, "2 L"]:
    """How often each place of each kind is among those drawn one by one without replacement, exactly."""
    exact = torch.zeros(2, L, dtype=torch.float64)
    for kind in (0, 1):
        weight = (sign * SCORES[kind] / temperature).exp() * FREE_KINDS[kind]
        for order in permutations(FREE_KINDS[kind].nonzero()[:, 0].tolist(), COUNTS[s][kind]):
            chance, left = 1.0, weight.sum()
            for place in order:
                chance, left = chance * weight[place] / left, left - weight[place]
            exact[kind, list(order)] += chance
    return exact


def gumbel(shape, generator):
    return -(-torch.rand(shape, generator=generator, dtype=torch.float64).log()).log()


def with_noise(noise=gumbel, score=SCORE, sign: float = 1.0, s: float = 0.4) -> Float[Tensor, "2 L"]:
    """The same by trial at temperature 1, for another noise(shape, generator), other scores, or the smallest keys."""
    key = (sign * (score + noise((B, L), seeded(9)))).masked_fill(~FREE, -torch.inf)
    rank = key.argsort(dim=1, descending=True).argsort(dim=1)
    count = torch.tensor(COUNTS[s]).repeat(B // 2)
    return frequencies(rank < count[:, None])


def frequencies(where: Bool[Tensor, "B L"]) -> Float[Tensor, "2 L"]:
    return torch.stack([rows.double().mean(0) for rows in by_kind(where)])


def misfit(where: Bool[Tensor, "B L"], expected: Float[Tensor, "2 L"]) -> float:
    return float((frequencies(where) - expected).abs().max())
