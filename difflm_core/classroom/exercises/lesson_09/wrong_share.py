"""Exercise 9.1: of the words that are visible at time t, which share is wrong? From the masses of hybrid noise."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import close

T = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
CASES = [(p_u, V) for p_u in (0.1, 0.5) for V in (4, 9)]


def c_of(t, p_u):
    return 2 * p_u / (1 - p_u) * (t * (1 - t)).sqrt()


def share(c_of=c_of, lucky=lambda V: 1 / V, over=lambda t, c: 1 - t + c):
    """A way to get the share: c(t), the chance that a random word is the right one, and what to divide by."""

    def wrong_share(t, p_u, V):
        c = c_of(t, p_u)
        return c * (1 - lucky(V)) / over(t, c)

    return wrong_share


right = share()


def test(wrong_share):
    for p_u, V in CASES:
        value = torch.as_tensor(wrong_share(T.clone(), p_u, V))
        assert value.shape == T.shape, (
            f"Return one share for each t, shaped {tuple(T.shape)}, not {tuple(value.shape)}."
        )
        truth = right(T, p_u, V)
        assert close(value, truth), (
            f"With p_u = {p_u}, V = {V} at t = 0.5 the share is {truth[9]:.4f}, yours is {float(value[9]):.4f};"
            f" at t = 0.05 it is {truth[0]:.4f}, yours {float(value[0]):.4f}."
        )


def is_like(wrong):
    """A probe: the attempt gives what `wrong` gives, in every case."""
    return lambda wrong_share: all(close(wrong_share(T.clone(), p_u, V), wrong(T, p_u, V)) for p_u, V in CASES)


MISTAKES = [
    (
        is_like(lambda t, p_u, V: torch.full_like(t, p_u)),
        "p_u is the random share at t = 1/2 only, and of all words. Before and after it is smaller: use c_t.",
    ),
    (
        is_like(share(over=lambda t, c: 1 + c)),
        "That is the share of all words, masks included. Of the visible ones: divide by the mass of what is visible,"
        " alpha_t plus the uniform mass.",
    ),
    (
        is_like(share(lucky=lambda V: 0)),
        "A random word may be the right one by luck: one in V of the uniform mass is not wrong.",
    ),
    (
        is_like(share(lucky=lambda V: 1 / (V + 1))),
        "You spread the random words over V + 1 symbols. In this course u covers the V words and never writes the"
        " mask.",
    ),
    (
        is_like(share(over=lambda t, c: 1)),
        "c_t is no probability yet: all three parts must be divided by C_t = 1 + c_t, and then by what is visible.",
    ),
    (
        is_like(share(over=lambda t, c: (1 + c) * (1 - t + c))),
        "You divided by C_t once too often. Wrong and visible both carry the factor 1 / C_t, so it cancels in their"
        " ratio.",
    ),
    (
        is_like(share(over=lambda t, c: 1 - t)),
        "You compare wrong words with surviving ones. The visible ones are both together: 1 - t + c_t.",
    ),
    (
        is_like(share(c_of=lambda t, p_u: 2 * p_u / (1 - p_u) * t * (1 - t))),
        "The power of t (1 - t) is gamma / 2 = 1/2: a square root.",
    ),
    (
        is_like(share(c_of=lambda t, p_u: p_u / (1 - p_u) * (t * (1 - t)).sqrt())),
        "The factor 2^gamma = 2 in B is missing: without it the random share at t = 1/2 is not p_u.",
    ),
    (
        is_like(share(c_of=lambda t, p_u: 2 * p_u * (t * (1 - t)).sqrt())),
        "B = 2 p_u / (1 - p_u): the 1 - p_u makes up for C_t, so that the random share at t = 1/2 is p_u.",
    ),
]

ex9_1 = Check(
    "9.1",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Three masses: alpha_t = (1 - t) / C_t, mask t / C_t, uniform c_t / C_t. Which of them are visible words?",
        "Visible: (1 - t + c_t) / C_t. Of the uniform mass one part in V hits the right word by luck.",
        "c (1 - 1/V) / (1 - t + c) with c = 2 p_u / (1 - p_u) * sqrt(t (1 - t)).",
    ],
    reference=right,
    praise="C_t cancels. This is how much the noise tells a network to distrust what it sees.",
)
