"""What the exercises of lesson 07 are tried on: small chains in which every number can be looked up."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.classroom.exercises.spies import seeded
from difflm_core.processes import matrices

K, T = 5, 4
LINE = torch.arange(K, dtype=torch.float64)[:, None] ** 1.5  # symbols on a line, for nearest neighbours
LOPSIDED = torch.softmax(torch.randn(T, K, K, generator=seeded(3), dtype=torch.float64), -1)  # no symmetry to hide in
Z = torch.tensor([[0, 1, 2, 3, 4, 4], [3, 3, 0, 1, 2, 4]])
X = torch.tensor([[0, 2, 2, 1, 4, 0], [3, 1, 0, 2, 0, 4]])
P = (1.5 * torch.randn(*Z.shape, K, generator=seeded(1), dtype=torch.float64)).softmax(-1)

CHAINS: dict[str, Float[Tensor, "T K K"]] = {
    "a lopsided matrix": LOPSIDED,
    "a uniform matrix": matrices.uniform(K, matrices.cosine_betas(T)[: T - 1]),
    "a nearest-neighbour matrix": matrices.nearest_neighbour(
        LINE, torch.tensor([0.3, 0.5, 1.0], dtype=torch.float64), 2
    ),
}


def cases():
    """(name, Q_t, Qbar_s) for the second and third step of every chain."""
    for name, Q in CHAINS.items():
        Qbar = matrices.cumulative(Q)
        for step in (1, 2):
            yield name, Q[step], Qbar[step - 1]


def check_law(name: str, given: Tensor, exact: Tensor, known: Callable[[int, int], str]) -> None:
    """Is it the law over z_s at every place? `name` is the matrix; `known(row, place)` says what one knows there."""
    assert given.shape == exact.shape, (
        f"Return a law over the K states for every place, shaped {tuple(exact.shape)}, not {tuple(given.shape)}."
    )
    sums = given.sum(-1)
    assert torch.allclose(sums, torch.ones_like(sums), atol=1e-6), "Probabilities over z_s must sum to 1."
    worst = (given - exact).abs().argmax()
    row, place, symbol = (int(i) for i in torch.unravel_index(worst, exact.shape))
    assert torch.allclose(given.double(), exact, atol=1e-6), (
        f"With {name}, {known(row, place)}, the chance of {symbol} at s is {exact[row, place, symbol]:.4f}; yours is"
        f" {given[row, place, symbol]:.4f}."
    )


def is_like(answers: Callable[[Callable], list[Tensor]], wrong: Callable) -> Callable[[Callable], bool]:
    """A probe: the attempt gives what `wrong` gives, for every matrix."""
    return lambda attempt: all(
        given.shape == expected.shape and torch.allclose(given.double(), expected, atol=1e-6)
        for given, expected in zip(answers(attempt), answers(wrong), strict=True)
    )
