"""Exercise 10.3, its usual mistakes: told by how many places are chosen, then by which."""

import torch

from difflm_core.classroom.exercises.lesson_10.choose_trials import (
    COUNTS,
    FREE,
    SCORE,
    B,
    L,
    by_kind,
    chosen,
    inclusion,
    misfit,
    with_noise,
)


def counts(choose, s: float) -> list[tuple[int, int]]:
    """The least and the largest number of places chosen, in both kinds of rows."""
    return [(int(rows.sum(1).min()), int(rows.sum(1).max())) for rows in by_kind(chosen(choose, s))]


def always(at_04: tuple[int, int], at_06: tuple[int, int]):
    """A probe: these are the counts in the two kinds of rows, at s = 0.4 and at s = 0.6."""
    return lambda choose: [counts(choose, s) for s in (0.4, 0.6)] == [[(n, n) for n in ns] for ns in (at_04, at_06)]


def varies(above: bool):
    """A probe: the count is not the same in all rows, and does (not) pass what it should be."""

    def probe(choose):
        (least, most), _ = counts(choose, 0.4)
        return least < most and (most > COUNTS[0.4][0]) == above

    return probe


def same_in_all_rows(choose) -> bool:
    return all(bool((rows == rows[0]).all()) for rows in by_kind(chosen(choose, 0.4)))


def like(temperature_of, sign: float = 1.0):
    """A probe: places are chosen as by a right function with another temperature, or the other sign."""
    return lambda choose: all(
        misfit(chosen(choose, 0.4, tau), inclusion(temperature_of(tau), sign)) < 0.03 for tau in (2.0, 0.5)
    )


def noisy(*trial, **settings):
    return lambda choose: misfit(chosen(choose, 0.4), with_noise(*trial, **settings)) < 0.025


def marks_the_order(choose) -> bool:
    """With s = 1 the places 0 and 1, which are not free, come last in the order: there it is True."""
    rows = by_kind(chosen(choose, 1.0).bool())[1]
    return bool(rows[:, 4:].all() and rows[:, :2].any() and (rows.sum(1) == 4).all())


def uniform(shape, generator):
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def normal(shape, generator):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def negative_gumbel(shape, generator):
    return (-uniform(shape, generator).log()).log()


MISTAKES = [
    (
        lambda choose: chosen(choose, 0.4).shape != (B, L),
        "Return a mask over all places, True where a token is taken back, not the places' numbers.",
    ),
    (
        marks_the_order,
        "argsort gives the order: which place is first, second, third. Wanted is the rank of each place, and that is"
        " the argsort of the order: .argsort(1).argsort(1). (Or scatter True to the first N_s of the order.)",
    ),
    (
        lambda choose: bool((chosen(choose, 0.4).bool() & ~FREE).any()),
        "A given word is taken back. Set the key of every place that is not free to -inf before the largest are taken.",
    ),
    (
        always((2, 1), (3, 2)),
        "Rounded down. N_s is rounded up: otherwise the last steps have nothing to take back.",
    ),
    (always((2, 2), (4, 2)), "Rounded to the nearest number. N_s = ceil(s times the number of free places)."),
    (
        always((3, 3), (4, 4)),
        "The count is taken from all L places. A prompt takes no part: count the free places of each row.",
    ),
    (always((4, 3), (3, 2)), "You take back 1 - s of the places. At s a share s is masked."),
    (
        varies(above=False),
        "Some rows lose fewer than N_s: the same place was drawn twice. Draw without replacement.",
    ),
    (
        varies(above=True),
        "The count changes from row to row: every place tosses its own coin. That is the unguided star step; here"
        " exactly N_s are taken, by rank.",
    ),
    (
        lambda choose: (
            same_in_all_rows(choose) and torch.equal(chosen(choose, 0.4, seed=0), chosen(choose, 0.4, seed=1))
        ),
        "No chance at all: always the largest scores, which is the limit of temperature 0. Add Gumbel noise to"
        " score / temperature.",
    ),
    (same_in_all_rows, "All rows share one draw of the noise. Every place of every row needs its own."),
    (like(lambda tau: 1 / tau), "You multiply the scores by the temperature. A high temperature flattens: divide."),
    (
        like(lambda tau: 1.0),
        "The temperature changes nothing. Divide the score by it, and not the noise: (score + noise) / temperature has"
        " the order of score + noise.",
    ),
    (
        like(lambda tau: tau, sign=-1.0),
        "The sign is wrong: a large score means 'probably wrong', and is to be taken back.",
    ),
    (like(lambda tau: 1e6), "The scores are not used: any place is as likely as any other."),
    (noisy(sign=-1.0), "The smallest keys are taken, not the largest: sort with descending=True."),
    (
        noisy(score=SCORE.softmax(1)),
        "The scores went through a softmax first. Gumbel noise is added to score / temperature itself, which is already"
        " a logarithm.",
    ),
    (noisy(uniform), "The noise is uniform. Only Gumbel noise, -log(-log(u)), gives proportions exp(score)."),
    (noisy(normal), "The noise is Gaussian. Only Gumbel noise, -log(-log(u)), gives proportions exp(score)."),
    (noisy(negative_gumbel), "A minus sign is lost: Gumbel noise is -log(-log(u)), with its long tail upwards."),
    (
        lambda choose: not torch.equal(chosen(choose, 0.4), chosen(choose, 0.4)),
        "Two runs with the same generator differ. Pass the generator to the draw of the noise.",
    ),
]
