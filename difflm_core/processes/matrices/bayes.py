"""From single steps to many, and back by Bayes' rule (D3PM, Austin et al. 2021, Eqs. 3-4).

Everything here holds for any row-stochastic matrices: Q_t takes z_s to z_t in one step (or in several at once), and
Qbar_s takes x to z_s. Each may be one (K, K) for all rows of the batch, or (B, K, K), one for each row.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.processes.matrices.checks import check_possible, check_symbols

Matrix = Float[Tensor, "K K"] | Float[Tensor, "B K K"]
Symbols = Int[Tensor, "B L"] | Float[Tensor, "B L K"]


def cumulative(Q: Float[Tensor, "T K K"]) -> Float[Tensor, "T K K"]:
    """Qbar_t = Q_1 ... Q_t for every t: row i of Qbar_t is q(z_t | x = i)."""
    products = [Q[0]]
    for step in Q[1:]:
        products.append(products[-1] @ step)
    return torch.stack(products)


def rows(matrix: Matrix, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B L K"]:
    """The row of the matrix that each id names."""
    check_symbols(ids, matrix.shape[-1], "Symbol ids")
    if matrix.ndim == 2:
        return matrix[ids]
    return matrix[torch.arange(len(matrix), device=ids.device)[:, None], ids]


def forward(x: Symbols, matrix: Matrix) -> Float[Tensor, "B L K"]:
    """x times the matrix: a row for each id, or a mixture of rows for probabilities."""
    if not x.is_floating_point():
        return rows(matrix, x)
    if x.shape[-1] != matrix.shape[-1]:
        raise ValueError(f"Probabilities over {x.shape[-1]} symbols do not fit a matrix of {matrix.shape[-1]} states.")
    return x.to(matrix.dtype) @ matrix


def posterior(Q_t: Matrix, Qbar_s: Matrix, z_t: Int[Tensor, "B L"], x: Symbols) -> Float[Tensor, "B L K"]:
    """q(z_s | z_t, x) proportional to q(z_t | z_s) q(z_s | x) = (z_t Q_t^T) * (x Qbar_s) (Eq. 3).

    If x is probabilities p (B, L, K) this is Eq. 4 of the paper, the *plug-in* posterior: the joint laws of (z_s,
    z_t) for every clean symbol, weighted by p, summed, and only then normalised. Raises ValueError if z_t cannot come
    from x.
    """
    joint = rows(Q_t.mT, z_t) * forward(x, Qbar_s)  # (B, L, K)
    total = joint.sum(-1, keepdim=True)  # q(z_t | x)
    check_possible(total)
    return joint / total


def posterior_mixture(
    Q_t: Matrix, Qbar_s: Matrix, z_t: Int[Tensor, "B L"], p: Float[Tensor, "B L K"]
) -> Float[Tensor, "B L K"]:
    """The other way to use a prediction p: sum over x of p(x) q(z_s | z_t, x), each posterior normalised by itself.

    This is the law of "draw x from p, then z_s from its posterior", and the true reverse step if p(x) = p(x | z_t).
    The plug-in differs: it multiplies p by q(z_t | x), the evidence of the very token that such a p has already seen.
    So the mixture *is* the plug-in of `without_own_evidence(p, evidence)`, and that is how it is computed. The two
    agree where z_t favours no x: in absorbing noise, if p puts no mass on the mask. Symbols x that z_t excludes are
    dropped from p.
    """
    evidence = rows((Qbar_s @ Q_t).mT, z_t)  # q(z_t | x = v) for every v
    return posterior(Q_t, Qbar_s, z_t, without_own_evidence(p.to(evidence.dtype), evidence))


def without_own_evidence(p: Float[Tensor, "B L K"], evidence: Float[Tensor, "B L K"]) -> Float[Tensor, "B L K"]:
    """p(x_i | z_t) -> p(x_i | z_t without position i): divide by q(z_i | x_i), which Bayes' rule multiplied by."""
    weight = torch.where(evidence > 0, p / evidence.clamp_min(torch.finfo(p.dtype).tiny), 0.0)
    return weight / weight.sum(-1, keepdim=True)
