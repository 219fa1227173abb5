"""Exercise 7.1: the noise of the first t steps together, for uniform and absorbing matrices."""

import torch

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import close

CASES = [
    torch.tensor([0.1, 0.3, 0.2, 0.5], dtype=torch.float64),
    torch.tensor([0.5, 0.05, 1.0], dtype=torch.float64),
    torch.full((30,), 0.1, dtype=torch.float64),  # the sum passes 1
]


def right(betas):
    return 1 - (1 - betas).cumprod(0)


def test(total_noise):
    for betas in CASES:
        value = torch.as_tensor(total_noise(betas.clone()))
        assert value.shape == betas.shape, (
            f"Return one number for each of the {len(betas)} steps, shaped {tuple(betas.shape)}, not"
            f" {tuple(value.shape)}."
        )
        truth = right(betas)
        assert close(value, truth), (
            f"After two steps of {betas[0]:g} and {betas[1]:g} the total noise is {truth[1]:.4f}; yours is"
            f" {float(value[1]):.4f}."
        )


def is_like(wrong):
    """A probe: the attempt gives what `wrong` gives, in every case."""
    return lambda total_noise: all(
        torch.allclose(torch.as_tensor(total_noise(betas.clone())).double(), wrong(betas)) for betas in CASES
    )


MISTAKES = [
    (
        is_like(lambda betas: betas.cumsum(0)),
        "Noise does not add up: a word that is hit twice is counted twice, and after enough steps the sum passes 1."
        " Multiply the chances of *not* being hit.",
    ),
    (
        is_like(lambda betas: (1 - betas).cumprod(0)),
        "That is what survives, alpha. The noise is the rest, 1 - alpha.",
    ),
    (
        is_like(lambda betas: betas.cumprod(0)),
        "That is the chance to be hit in *every* step. One hit is enough: multiply the chances 1 - beta of being"
        " missed.",
    ),
    (
        is_like(lambda betas: torch.cat([betas.new_zeros(1), right(betas)[:-1]])),
        "Shifted by one: entry t must include step t itself. (Before the first step the noise is 0, and that entry is"
        " not asked for.)",
    ),
    (
        lambda total_noise: torch.as_tensor(total_noise(CASES[0].clone())).ndim == 0,
        "Only one number comes back. Every prefix of the steps is wanted: cumprod, not prod.",
    ),
]

ex7_1 = Check(
    "7.1",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "With chance 1 - beta_1 the first step leaves a word alone, and with 1 - beta_2 the second. What is the chance"
        " that both do?",
        "alpha_t = (1 - beta_1) ... (1 - beta_t), and the total noise is 1 - alpha_t: torch.cumprod.",
    ],
    reference=right,
    praise="uniform(K, total) is Q-bar itself: no matrix product is needed.",
)
