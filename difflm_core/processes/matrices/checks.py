"""Input checks of the matrices: each failure is one sentence that says what was wrong and what to do.

Checks that look at values run on the CPU only: on a GPU the look would stall the queue at every step.
"""

import torch
from torch import Tensor


def check_betas(betas: Tensor, what: str = "beta") -> Tensor:
    """Noise levels as a float64 (or wider) vector, one per step; each must lie in (0, 1]."""
    betas = torch.as_tensor(betas)
    betas = betas if betas.dtype == torch.float32 else betas.double()
    if betas.ndim != 1 or len(betas) == 0:
        raise ValueError(f"There must be one {what} for each of at least one step, got shape {tuple(betas.shape)}.")
    bad = ~((betas > 0) & (betas <= 1))  # NaN is bad too
    if bool(bad.any()):
        step = int(bad.nonzero()[0])
        raise ValueError(
            f"{what}_{step + 1} is {betas[step].item():.6g} but must lie in (0, 1]: it is the probability of a jump "
            "(1 only in a step that forgets everything).")
    return betas


def check_size(K: int) -> None:
    if K < 2:
        raise ValueError(f"A transition matrix needs at least 2 states, got K = {K}.")


def stochastic(Q: Tensor) -> Tensor:
    """Q with rows that sum to 1 to the last digit; ValueError for anything but (T, K, K) probabilities, row by row."""
    if Q.ndim != 3 or Q.shape[1] != Q.shape[2] or len(Q) == 0:
        raise ValueError(f"Transition matrices must be shaped (T, K, K) with at least one step, got {tuple(Q.shape)}.")
    check_size(Q.shape[1])
    if not bool(torch.isfinite(Q).all()) or bool((Q < 0).any()):
        raise ValueError("A transition matrix has a negative or non-finite entry; its entries are probabilities.")
    sums = Q.sum(-1, keepdim=True)  # (T, K, 1)
    error = (sums - 1).abs()
    if error.max() > 1e-5:
        step, row = divmod(int(error.argmax()), Q.shape[1])
        raise ValueError(
            f"Q_{step + 1} is not row-stochastic: row {row} sums to {sums[step, row].item():.6g}, not 1; "
            "if its columns sum to 1 instead, transpose it.")
    return Q / sums


def check_symbols(ids: Tensor, K: int, name: str) -> None:
    """Refuse ids outside 0..K-1."""
    if ids.is_floating_point():
        raise ValueError(f"{name} holds {ids.dtype} values but must hold integer ids.")
    if ids.device.type == "cpu" and ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < K:
        raise ValueError(f"{name} must lie in 0..{K - 1}, the states of this matrix, "
                         f"got {int(ids.min())}..{int(ids.max())}.")


def check_possible(total: Tensor) -> None:
    """`total` is q(z_t | x): zero means that z_t cannot have come from x, and then nothing can be said of z_s."""
    if total.device.type == "cpu" and not bool((total > 0).all()):
        where = tuple((~(total > 0)).nonzero()[0].tolist())
        raise ValueError(f"The noisy token at {where[:2]} cannot come from the clean one given there: "
                         "q(z_t | x) = 0, so q(z_s | z_t, x) is undefined.")
