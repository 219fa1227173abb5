"""Noise that replaces a token by a similar one (D3PM, Austin et al. 2021, App. A.2.4, Eq. 9).

Connect every token with its k nearest neighbours in an embedding space. A token then walks along these edges: at first
to its neighbours, in the end anywhere. In continuous time such a walk has a rate matrix R, and after "time" alpha the
transition matrix is exp(alpha R); times add up, so after several steps it is exp((sum of the alphas) R) (Eq. 16).

The graph is made symmetric, so R is symmetric: each exp(alpha R) is doubly stochastic, and one eigendecomposition
gives all of them.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.processes.matrices.checks import check_size


def neighbour_rates(embedding: Float[Tensor, "K D"], k: int) -> Float[Tensor, "K K"]:
    """R of Eq. 9: A = (G + G^T) / 2k off the diagonal, minus the row sum on it; G marks each token's k nearest others.

    Distances are Euclidean; pass rows of length 1 for cosine neighbours, as the paper's code does. Raises ValueError if
    the embedding is not finite, k is not in 1..K-1, or the graph falls apart.
    """
    K = len(embedding)
    check_size(K)
    if not bool(torch.isfinite(embedding).all()):
        raise ValueError("The embedding has a NaN or infinite entry; look at what trained it.")
    if not 1 <= k <= K - 1:
        raise ValueError(f"Each of {K} tokens has between 1 and {K - 1} neighbours, got k = {k}.")
    rows = embedding.detach().double()
    distance = torch.cdist(rows, rows).fill_diagonal_(torch.inf)  # a token is not its own neighbour
    nearest = distance.argsort(dim=-1, stable=True)[:, :k]
    G = torch.zeros_like(distance).scatter_(1, nearest, 1.0)
    A = (G + G.T) / (2 * k)
    pieces = count_pieces(A > 0)
    if pieces > 1:
        raise ValueError(f"The {k}-nearest-neighbour graph falls apart into {pieces} pieces, and noise could never "
                         "leave the piece it starts in; raise k.")
    return A - torch.diag(A.sum(-1))


def count_pieces(edges: Tensor) -> int:
    """Connected components of a symmetric boolean (K, K): each token takes the smallest label that it can see."""
    label = torch.arange(len(edges), device=edges.device)
    while True:
        seen = torch.where(edges, label, len(edges)).amin(-1).minimum(label)
        if bool((seen == label).all()):
            return len(label.unique())
        label = seen


def exponentials(R: Float[Tensor, "K K"], alphas: Float[Tensor, "T"]) -> Float[Tensor, "T K K"]:
    """exp(alpha R) for each alpha, of a symmetric R with row sums 0. Cost: one eigendecomposition, one product each."""
    eigenvalue, U = torch.linalg.eigh(R)  # R = U diag(eigenvalue) U^T, all eigenvalues <= 0
    decay = torch.exp(alphas.to(R)[:, None] * eigenvalue.clamp_max(0))  # (T, K)
    Q = ((U * decay[:, None, :]) @ U.T).clamp_min(0)  # rounding leaves about -1e-17 where a token cannot get to yet
    return Q / Q.sum(-1, keepdim=True)


def nearest_neighbour(embedding: Float[Tensor, "K D"], alphas: Float[Tensor, "T"], k: int) -> Float[Tensor, "T K K"]:
    """Q_t = exp(alpha_t R). The cumulative matrices are `nearest_neighbour(embedding, alphas.cumsum(0), k)` (Eq. 16).

    An alpha is an expected number of moves (about 1 per unit), any positive number. Raises ValueError for others, and
    as `neighbour_rates` does.
    """
    alphas = torch.as_tensor(alphas)
    if alphas.ndim != 1 or len(alphas) == 0 or not bool(((alphas > 0) & torch.isfinite(alphas)).all()):
        raise ValueError("alphas must be positive finite numbers, one for each of at least one step.")
    return exponentials(neighbour_rates(embedding, k), alphas.double())
