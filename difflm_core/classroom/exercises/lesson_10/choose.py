"""Exercise 10.3: which tokens to take back, exactly so many, at random but by their scores (Gumbel top-k)."""

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.lesson_10.choose_mistakes import MISTAKES
from difflm_core.classroom.exercises.lesson_10.choose_trials import (
    COUNTS,
    FREE,
    TEMPERATURES,
    B,
    L,
    by_kind,
    chosen,
    inclusion,
    misfit,
)


def test(choose):
    for s, counts in COUNTS.items():
        where = chosen(choose, s)
        assert isinstance(where, Tensor) and where.shape == (B, L) and where.dtype == torch.bool, (
            f"Return True where a token is taken back, shaped {(B, L)}."
        )
        assert not bool((where & ~FREE).any()), "Given words must never be taken back."
        for rows, count, free in zip(by_kind(where), counts, by_kind(FREE)):
            found = rows.sum(1)
            assert bool((found == count).all()), (
                f"With s = {s} and {int(free[0].sum())} free places every row loses exactly {count}; yours lose"
                f" {int(found.min())} to {int(found.max())}."
            )
    for temperature in TEMPERATURES:
        off = misfit(chosen(choose, 0.4, temperature), inclusion(temperature))
        assert off < 0.04, (
            f"At temperature {temperature} a place is chosen too often or too seldom, by {off:.2f}: draw without"
            " replacement in proportion to exp(score / temperature)."
        )
    assert torch.equal(chosen(choose, 0.4), chosen(choose, 0.4)), "Same generator, same choice."


def reference(score, s, temperature, free, generator=None):
    noise = -torch.empty(score.shape, dtype=torch.float64).exponential_(generator=generator).log()
    key = (score / temperature + noise).masked_fill(~free, -torch.inf)
    rank = key.argsort(dim=1, descending=True).argsort(dim=1)
    return rank < (s * free.sum(1, keepdim=True)).ceil()


ex10_3 = Check(
    "10.3",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "The count first: how many places are free in each row (free.sum(1)), times s, rounded up.",
        "A draw without replacement in proportion to exp(score / temperature) is the top of score / temperature +"
        " Gumbel noise, where the noise is -log(-log(u)) with u uniform, a fresh one for every place.",
        "Give places that are not free the key -inf. rank = key.argsort(dim=1, descending=True).argsort(dim=1), and"
        " True where rank < count[:, None].",
    ],
    reference=reference,
    praise="Exactly N_s places a row, and chance enough that the surest error does not go first every time.",
)
