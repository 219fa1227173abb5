"""Input checks of the exact language: each failure is one sentence that says what was wrong and what to do."""

import torch
from torch import Tensor


def stochastic(name: str, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`rows` as float64, each row summing to one exactly; ValueError if not of `shape` or not stochastic."""
    rows = torch.as_tensor(rows, dtype=torch.float64)
    if rows.shape != shape:
        raise ValueError(f"{name} has shape {tuple(rows.shape)} but must be {shape}: rows are states.")
    if not torch.isfinite(rows).all() or (rows < 0).any():
        raise ValueError(f"{name} has a negative or non-finite entry; probabilities must lie in [0, 1].")
    sums = rows.sum(-1, keepdim=True)
    if (sums - 1).abs().max() > 1e-6:
        worst = (sums - 1).abs().argmax().item()
        raise ValueError(f"{name} is not stochastic: row {worst} sums to {sums.flatten()[worst].item():.6g}, not 1; "
                         "divide each row by its sum.")
    return rows / sums


def check_language(initial, transition, emission, words, length) -> tuple[Tensor, Tensor, Tensor]:
    """The three matrices as exact float64; ValueError in one sentence if sizes, words or length do not fit together."""
    S, V = len(initial), len(words)
    if S == 0 or V == 0:
        raise ValueError(f"A language needs at least one state and one word, but has {S} states and {V} words.")
    if len(set(words)) != V:
        twice = next(word for word in words if list(words).count(word) > 1)
        raise ValueError(f"The word {twice!r} is listed twice; each id needs a word of its own.")
    if not isinstance(length, int) or length < 1:
        raise ValueError(f"length is {length!r} but must be a whole number of words, at least 1.")
    return (stochastic("initial", initial, (S,)), stochastic("transition", transition, (S, S)),
            stochastic("emission", emission, (S, V)))


def check_length(L: int | None, usual: int) -> int:
    """L, or the usual length for None; ValueError if it is below 1."""
    L = usual if L is None else L
    if L < 1:
        raise ValueError(f"L is {L} but a text needs at least one word.")
    return L


def check_ids(x: Tensor, upper: int, name: str = "x") -> Tensor:
    """x as int64 (B, L) with ids in [0, upper); ValueError naming the first position that is not."""
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"{name} has shape {tuple(x.shape)} but must be (B, L) token ids with L >= 1; "
                         "a single text becomes a batch with x[None].")
    if x.dtype.is_floating_point or x.dtype == torch.bool:
        raise ValueError(f"{name} holds {x.dtype} values but must hold integer token ids.")
    outside = (x < 0) | (x >= upper)
    if outside.any():
        row, i = outside.nonzero()[0].tolist()
        raise ValueError(f"{name}[{row}, {i}] is {x[row, i].item()} but ids must lie in [0, {upper - 1}].")
    return x.long().cpu()  # the exact languages live in host memory
