"""Exercise 9.2: the bound's weight on a mask, a wrong word and a right one, for any gamma."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import close

T = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
CASES = [(p_u, gamma, V) for p_u, gamma, V in [(0.1, 1.0, 4), (0.3, 1.0, 9), (0.2, 2.0, 4), (0.5, 0.5, 9)]]
NAMES = ("mask", "wrong word", "right word")


def c_of(t, p_u, gamma):
    return 2**gamma * p_u / (1 - p_u) * (t * (1 - t)) ** (gamma / 2)


def on_wrong(t, gamma):
    """Rate onto one random word over its chance: 1 / (1 - t) + c' / c."""
    return 1 / (1 - t) + gamma / 2 * (1 - 2 * t) / (t * (1 - t))


def right(t, p_u, gamma, V):
    b = c_of(t, p_u, gamma) / V  # times 1 / C_t, which cancels everywhere
    return 1 / (t * (1 - t)), on_wrong(t, gamma), on_wrong(t, gamma) * b / (1 - t + b)


def test(weights):
    for p_u, gamma, V in CASES:
        values, truth = weights(T.clone(), p_u, gamma, V), right(T, p_u, gamma, V)
        assert isinstance(values, (tuple, list, torch.Tensor)) and len(values) == 3, (
            "Return three weights: mask, wrong, right."
        )
        for name, value, exact in zip(NAMES, values, truth):
            assert torch.as_tensor(value).shape == T.shape, f"The weight on a {name} must be shaped like t."
            assert close(value, exact), (
                f"With p_u = {p_u}, gamma = {gamma}, V = {V} at t = 0.25 the weight on a {name} is {exact[4]:.4f},"
                f" yours is {float(value[4]):.4f}."
            )


def is_like(wrong):
    """A probe: the attempt gives what `wrong` gives, in every case."""

    def probe(weights):
        return all(
            close(value, expected)
            for p_u, gamma, V in CASES
            for value, expected in zip(weights(T.clone(), p_u, gamma, V), wrong(T, p_u, gamma, V), strict=True)
        )

    return probe


def rates(t, p_u, gamma, V):
    """Jump rates that were not divided by the chance to be there."""
    c = c_of(t, p_u, gamma)
    onto_word = on_wrong(t, gamma) * c / (1 + c) / V
    return 1 / ((1 - t) * (1 + c)), onto_word, onto_word


def on_right_by_alpha(t, p_u, gamma, V):
    return c_of(t, p_u, gamma) / V / (1 - t)


def with_b(b_of):
    """The right weights but for b, the chance of one random word, in (numerator, denominator) of the third."""

    def weights(t, p_u, gamma, V):
        above, below = b_of(c_of(t, p_u, gamma), V)
        return 1 / (t * (1 - t)), on_wrong(t, gamma), on_wrong(t, gamma) * above / (1 - t + below)

    return weights


def with_slope(slope):
    """The right weights but for c' / c."""

    def weights(t, p_u, gamma, V):
        b, wrong = c_of(t, p_u, gamma) / V, 1 / (1 - t) + slope(t, gamma)
        return 1 / (t * (1 - t)), wrong, wrong * b / (1 - t + b)

    return weights


def with_c(c_of):
    """The right weights but for c."""

    def weights(t, p_u, gamma, V):
        b, wrong = c_of(t, p_u, gamma) / V, on_wrong(t, gamma)
        return 1 / (t * (1 - t)), wrong, wrong * b / (1 - t + b)

    return weights


def mask_twice_wrong(t, p_u, gamma, V):
    _, wrong, on_right = right(t, p_u, gamma, V)
    return 2 * wrong, wrong, on_right


MISTAKES = [
    (
        is_like(lambda t, p_u, gamma, V: right(t, p_u, 1.0, V)),
        "These are section 4's weights, for gamma = 1. Another gamma changes c and c' / c: put it into both.",
    ),
    (
        is_like(lambda t, p_u, gamma, V: tuple(right(t, p_u, gamma, V)[i] for i in (0, 2, 1))),
        "The order: on a mask, on a wrong word, on a right word. Yours has the last two exchanged.",
    ),
    (
        is_like(with_c(lambda t, p_u, gamma: 2 * p_u / (1 - p_u) * (t * (1 - t)) ** (gamma / 2))),
        "B = 2^gamma p_u / (1 - p_u): you kept the 2 of gamma = 1.",
    ),
    (
        is_like(with_c(lambda t, p_u, gamma: p_u / (1 - p_u) * (t * (1 - t)) ** (gamma / 2))),
        "The factor 2^gamma in B is missing: without it the random share at t = 1/2 is not p_u.",
    ),
    (
        is_like(with_c(lambda t, p_u, gamma: 2**gamma * p_u / (1 - p_u) * (t * (1 - t)) ** gamma)),
        "The power of t (1 - t) in c is gamma / 2.",
    ),
    (
        is_like(with_slope(lambda t, gamma: gamma * (1 - 2 * t) / (t * (1 - t)))),
        "A factor 1/2 is missing in c' / c: the power of t (1 - t) is gamma / 2.",
    ),
    (
        is_like(lambda *inputs: (*right(*inputs)[:2], right(*inputs)[1] * on_right_by_alpha(*inputs))),
        "A right word is there because it survived or by luck: its chance is alpha + b, not alpha alone.",
    ),
    (
        is_like(with_slope(lambda t, gamma: (1 - 2 * t) / (2 * t * (1 - t)))),
        "That is right for gamma = 1 only. c' / c = gamma / 2 * (1 - 2t) / (t (1 - t)) in general.",
    ),
    (
        is_like(with_b(lambda c, V: (c, c / V))),
        "The weight on a right word lacks a factor 1/V: noise jumps onto *this* word with one V-th of the rate onto any"
        " random word. (The authors' code had this very mistake until June 2025.)",
    ),
    (
        is_like(with_b(lambda c, V: (c, c))),
        "On a right word you used c where c / V belongs: the random mass is spread over V words, and this is one of"
        " them.",
    ),
    (
        is_like(with_b(lambda c, V: (c / (V + 1), c / (V + 1)))),
        "You spread the random words over V + 1 symbols. In this course u covers the V words and never the mask.",
    ),
    (
        is_like(with_slope(lambda t, gamma: torch.zeros_like(t))),
        "c' is missing. Random words come to replace what survived, at a rate c / (1 - t), and also because their share"
        " c itself grows, by c'.",
    ),
    (
        is_like(with_slope(lambda t, gamma: -gamma / 2 * (1 - 2 * t) / (t * (1 - t)))),
        "The sign of c' is wrong: c rises until t = 1/2 and falls after it.",
    ),
    (
        is_like(mask_twice_wrong),
        "A mask counts twice a wrong word for gamma = 1 only. The mask's weight, 1 / (t (1 - t)), does not depend on"
        " gamma.",
    ),
    (
        is_like(rates),
        "These are the rates of jumping there. Divide each by the chance q_t(z | x) to be there.",
    ),
    (
        is_like(lambda t, p_u, gamma, V: (1 / t, on_wrong(t, gamma), right(t, p_u, gamma, V)[2])),
        "1/t is the mask's weight in front of a cross-entropy. Here it stands in front of a KL, which carries a factor"
        " alpha = 1 - t already: 1 / (t (1 - t)).",
    ),
    (
        is_like(lambda t, p_u, gamma, V: (1 / (t * (1 - t)), on_wrong(t, gamma), on_wrong(t, gamma))),
        "A right word counts less than a wrong one: it is there with chance alpha + b, and by a jump with b only.",
    ),
]

ex9_2 = Check(
    "9.2",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Each weight is a rate over a chance, and 1 / C_t cancels. Rates times C_t: 1 / (1 - t) onto the mask,"
        " (c / (1 - t) + c') / V onto one word.",
        "Chances times C_t: t for the mask, c / V for a wrong word, 1 - t + c / V for the right one.",
        "c' / c = gamma / 2 * (1 - 2t) / (t (1 - t)). So the weight on a wrong word is 1 / (1 - t) plus that.",
    ],
    reference=right,
    praise="With gamma = 1 the second is half the first at all times, with gamma = 2 it is 1/t.",
)
