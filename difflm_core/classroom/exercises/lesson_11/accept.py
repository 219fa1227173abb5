"""Exercise 11.3: which positions the entropy bound accepts."""

import torch
from torch import Tensor

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded
from difflm_core.samplers.parallel import within_bound

ENTROPY = 2.5 * torch.rand(200, 7, generator=seeded(3), dtype=torch.float64)
MASKED = torch.rand(200, 7, generator=seeded(4)) < 0.7
MASKED[0], MASKED[:, 3] = True, True  # no row without a mask
BOUNDS = (0.0, 0.5, 1.5, 4.0, 100.0)


def answer(accept, bound: float) -> Tensor:
    return torch.as_tensor(accept(ENTROPY.clone(), MASKED.clone(), bound))


def test(accept):
    for bound in BOUNDS:
        where, truth = answer(accept, bound), within_bound(ENTROPY, MASKED, bound)
        assert where.shape == MASKED.shape and where.dtype == torch.bool, (
            "Return True where a word is accepted, (B, L)."
        )
        assert not bool((where & ~MASKED).any()), "A visible word cannot be accepted again: only masked places count."
        assert bool(where.any(1).all()), f"At bound {bound} some rows accept nothing, and sampling would never end."
        off = int((where != truth).sum(1).argmax())
        shown = ", ".join(f"{h:.2f}" for h in ENTROPY[off][MASKED[off]].sort().values.tolist())
        assert torch.equal(where, truth), (
            f"At bound {bound}: of masked entropies {shown} the {int(truth[off].sum())} lowest are accepted; you accept"
            f" {int(where[off].sum())}."
        )


def by_rank(count):
    """The `count(sorted entropies, bound)` lowest masked ones."""

    def wrong(entropy, masked, bound):
        ordered, order = entropy.masked_fill(~masked, torch.inf).sort(1)
        return masked & torch.zeros_like(masked).scatter(1, order, count(ordered, bound))

    return wrong


def like(wrong):
    return lambda accept: all(torch.equal(answer(accept, b), wrong(ENTROPY, MASKED, b)) for b in BOUNDS)


WHOLE = by_rank(lambda h, bound: h.cumsum(1) <= bound)


def at_least_one(entropy, masked, bound):
    return WHOLE(entropy, masked, bound) | within_bound(entropy, masked, 0.0)


def sums_before(entropy, masked):
    """Of each place in ascending order the sum of those before it, and that order."""
    ordered, order = entropy.masked_fill(~masked, torch.inf).sort(1)
    return torch.cat([torch.zeros_like(ordered[:, :1]), ordered[:, :-1].cumsum(1)], 1), order


def strictly(entropy, masked, bound):
    before, order = sums_before(entropy, masked)
    return masked & torch.zeros_like(masked).scatter(1, order, before < bound)


def still_sorted(entropy, masked, bound):
    return masked & (sums_before(entropy, masked)[0] <= bound)


def sorted_again(entropy, masked, bound):
    before, order = sums_before(entropy, masked)
    return masked & (before <= bound).gather(1, order)


MISTAKES = [
    (
        like(WHOLE),
        "You count the largest accepted entropy too. Then a row whose lowest entropy is above the bound accepts"
        " nothing. The bound is on the sum *without* the largest.",
    ),
    (
        like(at_least_one),
        "You count the largest accepted entropy too, and rescue empty rows by hand. The bound is on the sum without the"
        " largest: the accepted set is larger by one.",
    ),
    (
        like(by_rank(lambda h, bound: h <= bound)),
        "Each entropy is compared with the bound alone. Together they may be far above it: add them up.",
    ),
    (
        like(lambda h, m, b: within_bound(2.5 - h, m, b)) , "You begin with the most uncertain places. Sort upwards.",
    ),
    (
        like(strictly),
        "You ask for a sum *below* the bound, and at bound 0 nothing is accepted. At most the bound: <=.",
    ),
    (
        like(still_sorted),
        "The answer is still in the sorted order. Send it back to the places: scatter(1, order, ...).",
    ),
    (
        like(sorted_again),
        "gather(1, order) sorts once more. The way back to the places is scatter(1, order, ...).",
    ),
    (
        like(lambda h, m, b: m & within_bound(h, torch.ones_like(m), b)),
        "The entropies of visible places count in your sums. Give them an infinite entropy before sorting.",
    ),
    (
        lambda f: bool((answer(f, 4.0) & ~MASKED).any()),
        "Visible places are accepted. Give them an infinite entropy before sorting.",
    ),
    (
        lambda f: answer(f, 4.0).shape == MASKED.shape and not answer(f, 100.0).dtype == torch.bool,
        "Return booleans, True where a word is accepted.",
    ),
]  # fmt: skip

ex11_3 = Check(
    "11.3",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Give visible places the entropy infinity and sort each row upwards: values and order.",
        "Position k of the sorted row is accepted if the sum of those *before* it is at most the bound: cumsum, shifted"
        " by one, beginning with 0.",
        "before = ordered.cumsum(1) - ordered (mind inf - inf), then torch.zeros_like(masked).scatter(1, order,"
        " before <= bound) & masked.",
    ],
    reference=within_bound,
    praise="Certain words ride along for nothing, and one uncertain word always comes with them.",
)
