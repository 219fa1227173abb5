"""Exercise 12.3: which points lie on the frontier of cost and quality."""

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

COST = torch.randint(1, 9, (40,), generator=seeded(1)).double()
QUALITY = (COST.sqrt() * 10 + 14 * torch.rand(40, generator=seeded(2), dtype=torch.float64)).round()
SETS = [
    (COST, QUALITY),
    (torch.tensor([1.0, 4.0, 12.0]), torch.tensor([5.0, 40.0, 97.0])),
    (torch.tensor([4.0, 4.0, 4.0]), torch.tensor([40.0, 55.0, 40.0])),  # equal cost
    (torch.tensor([1.0, 4.0, 12.0]), torch.tensor([40.0, 40.0, 40.0])),  # equal quality
    (torch.tensor([4.0, 4.0, 9.0]), torch.tensor([55.0, 55.0, 54.0])),  # the same point twice
    (torch.tensor([12.0, 1.0, 4.0]), torch.tensor([5.0, 97.0, 40.0])),  # one beats all
    (torch.tensor([3.0]), torch.tensor([0.0])),
]


def right(cost: Tensor, quality: Tensor) -> Tensor:
    no_worse = (cost[:, None] <= cost) & (quality[:, None] >= quality)  # row beats or equals column
    better = (cost[:, None] < cost) | (quality[:, None] > quality)
    return ~(no_worse & better).any(0)


def answer(frontier, cost: Tensor, quality: Tensor) -> Tensor:
    return torch.as_tensor(frontier(cost.clone(), quality.clone()))


def test(frontier):
    for cost, quality in SETS:
        found, truth = answer(frontier, cost, quality), right(cost, quality)
        assert found.shape == cost.shape and found.dtype == torch.bool, (
            f"Return True for each point on the frontier: booleans shaped {tuple(cost.shape)}."
        )
        if not torch.equal(found, truth):
            i = int((found != truth).nonzero()[0, 0])
            here = f"({cost[i]:g} calls, {quality[i]:g} %)"
            beats = (
                (cost <= cost[i]) & (quality >= quality[i]) & ((cost < cost[i]) | (quality > quality[i]))
            ).nonzero()
            if len(beats):
                j = int(beats[0, 0])
                raise AssertionError(f"{here} is beaten by ({cost[j]:g} calls, {quality[j]:g} %), and yours keeps it.")
            raise AssertionError(f"Nothing beats {here}, and yours leaves it out.")


def like(wrong):
    return lambda frontier: all(torch.equal(answer(frontier, *points), wrong(*points)) for points in SETS)


def beaten_by(beats):
    """Not beaten by any point, by `beats(cost_i, cost_j, quality_i, quality_j)`: i beats j."""
    return lambda cost, quality: ~beats(cost[:, None], cost, quality[:, None], quality).any(0)


def cheapest_of_best(cost, quality):
    return quality == quality.max()


def running_best(cost, quality):
    """From cheap to dear, each point that is better than all before: without thought for equal costs or twins."""
    keep, best = torch.zeros(len(cost), dtype=torch.bool), -torch.inf
    for i in cost.argsort(stable=True).tolist():
        if quality[i] > best:
            keep[i], best = True, float(quality[i])
    return keep


MISTAKES = [
    (
        lambda f: not bool(torch.cat([answer(f, *points) for points in SETS]).any()),
        "No point is left: every point is 'no worse' than itself. To beat, one of the two must be strictly better.",
    ),
    (
        like(beaten_by(lambda ci, cj, qi, qj: (ci < cj) & (qi > qj))),
        "A point that costs the same and is better beats, and so does one that is as good and cheaper. Strictly better"
        " in both is too much to ask.",
    ),
    (
        like(beaten_by(lambda ci, cj, qi, qj: (ci >= cj) & (qi >= qj) & ((ci > cj) | (qi > qj)))),
        "Cost counts the wrong way round: fewer calls are better.",
    ),
    (
        like(beaten_by(lambda ci, cj, qi, qj: (ci <= cj) & (qi <= qj) & ((ci < cj) | (qi < qj)))),
        "Quality counts the wrong way round: more is better.",
    ),
    (
        like(cheapest_of_best),
        "Only the best quality is kept. A cheaper point that nothing beats belongs to the frontier as well.",
    ),
    (
        like(running_best),
        "A running best over sorted costs trips over equal ones: at equal cost the order decides, and of two equal"
        " points the second is lost. Compare all pairs.",
    ),
    (
        lambda f: answer(f, *SETS[0]).dtype != torch.bool and answer(f, *SETS[0]).ndim == 1,
        "Return True or False for each point, not their numbers.",
    ),
]

ex12_3 = Check(
    "12.3",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Point i beats point j if it costs no more *and* is no worse *and* one of the two is strictly better.",
        "cost[:, None] <= cost compares all pairs at once: row i, column j. The same for quality.",
        "On the frontier are the columns in which no row beats: ~(no_worse & better).any(0).",
    ],
    reference=right,
    praise="What is left are the choices that somebody could reasonably make.",
)
