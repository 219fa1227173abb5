"""The mutual-information schedule: every step destroys as much of what z_t still says of x (D3PM, Eq. 17, A.7).

    I(z_t; x) / H(x) = 1 - t/T,      x drawn from the data's unigram distribution.

For absorbing noise the information left is the chance of not being masked, so the schedule is 1 / (T - t + 1). For the
other families it is found numerically: more noise means less information, so bisection finds the noise that leaves
1 - t/T. (The paper interpolates between 256 exponents; this solves for each step.)
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.processes.matrices.betas import check_steps, step_noise
from difflm_core.processes.matrices.neighbours import exponentials, neighbour_rates

MATRICES_AT_ONCE = 2**24  # entries: bounds the memory at 128 MiB an array


def mutual_information(unigram: Float[Tensor, "K"], Qbar: Float[Tensor, "*T K K"]) -> Float[Tensor, "*T"]:
    """I(z; x) in nats for x ~ unigram and z | x ~ row x of Qbar. Symbols of probability 0 are allowed."""
    law = check_unigram(unigram, Qbar.shape[-1])
    marginal = law @ Qbar  # (*T, K)
    ratio = Qbar / torch.where(marginal > 0, marginal, 1.0)[..., None, :]
    return (law * torch.special.xlogy(Qbar, ratio).sum(-1)).sum(-1)


def information_betas(
    unigram: Float[Tensor, "K"], family: Callable[[Float[Tensor, "N"]], Float[Tensor, "N K K"]], T: int
) -> Float[Tensor, "T"]:
    """betas for a family that is closed under products: `partial(uniform, K)`, or `partial(absorbing, K)`.

    `unigram` has K entries, one for each state: the mask's is 0.
    """
    return step_noise(information_levels(unigram, family, T))


def information_alphas(
    unigram: Float[Tensor, "K"], embedding: Float[Tensor, "K D"], k: int, T: int, largest: float = 1e5
) -> Float[Tensor, "T"]:
    """alphas for `nearest_neighbour(embedding, alphas, k)`; they sum to `largest`, where no information is left."""
    rates = neighbour_rates(embedding, k)
    total = information_levels(unigram, partial(exponentials, rates), T, largest)
    return torch.diff(total, prepend=total.new_zeros(1))


def information_levels(
    unigram: Float[Tensor, "K"],
    family: Callable[[Float[Tensor, "N"]], Float[Tensor, "N K K"]],
    T: int,
    largest: float = 1.0,
    smallest: float = 1e-9,
    steps: int = 50,
) -> Float[Tensor, "T"]:
    """The total noise after each of T steps at which I(z_t; x) = (1 - t/T) H(x).

    `family(levels)` gives the cumulative matrix for each total noise. The last level is `largest`, for I = 0 is reached
    only in the limit or at total noise 1. Bisection in the logarithm of the noise, for all steps together: `steps` T
    matrices are made. Raises ValueError if even `smallest` destroys too much, or the unigram law is not valid.
    """
    check_steps(T)
    law = check_unigram(unigram)
    target = (1 - torch.arange(1, T, dtype=torch.float64) / T) * torch.special.entr(law).sum()  # (T - 1,)
    low, high = torch.full_like(target, smallest).log(), torch.full_like(target, largest).log()
    least = torch.tensor([smallest], dtype=torch.float64)
    if T > 1 and mutual_information(law, family(least))[0] < target[0]:
        raise ValueError(f"A noise of {smallest} destroys over 1/{T} of the information; give a smaller `smallest`.")
    for _ in range(steps):
        middle = (low + high) / 2
        informed = information_of(law, family, middle.exp()) > target
        low, high = torch.where(informed, middle, low), torch.where(informed, high, middle)
    return torch.cat([((low + high) / 2).exp(), torch.tensor([largest], dtype=torch.float64)])


def information_of(law, family, levels):
    """mutual_information at each level, some levels at a time."""
    pieces = levels.split(max(1, MATRICES_AT_ONCE // len(law) ** 2)) if len(levels) else []
    return torch.cat([mutual_information(law, family(piece)) for piece in pieces] or [levels])


def check_unigram(unigram: Float[Tensor, "K"], K: int | None = None) -> Float[Tensor, "K"]:
    """The law as float64, summing to 1."""
    law = torch.as_tensor(unigram).double()
    if law.ndim != 1 or bool((law < 0).any()) or not bool(torch.isfinite(law).all()) or (law.sum() - 1).abs() > 1e-6:
        raise ValueError("unigram must be one vector of probabilities that sums to 1; divide the counts by their sum.")
    if K is not None and len(law) != K:
        raise ValueError(f"unigram has {len(law)} symbols but the matrices have {K} states.")
    if int((law > 0).sum()) < 2:
        raise ValueError("unigram is certain of one symbol, which has no information to destroy.")
    return law / law.sum()
