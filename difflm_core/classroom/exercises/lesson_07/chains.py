"""What the exercises of lesson 07 are tried on: small chains in which every number can be looked up."""

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


def worst(given: Tensor, exact: Tensor) -> tuple[int, int, int]:
    """(row, place, symbol) of the largest difference."""
    return tuple(int(i) for i in torch.unravel_index((given - exact).abs().argmax(), exact.shape))
