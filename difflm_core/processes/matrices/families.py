"""Three ways to replace a symbol, as matrices (D3PM, Austin et al. 2021, App. A.2).

Row i of Q_t says where symbol i goes in step t: [Q_t]_ij = q(z_t = j | z_{t-1} = i), so a one-hot row vector x moves to
x Q_t and every row sums to 1. All functions return (T, K, K), one matrix per beta. The fourth family, nearest
neighbours, is in neighbours.py.

`uniform` and `absorbing` are closed under products: noise beta_1 followed by beta_2 is noise
1 - (1 - beta_1)(1 - beta_2) of the same family. So their cumulative matrices need no product at all:
`uniform(K, total_noise(betas))` *is* `cumulative(uniform(K, betas))` (App. A.4.1), and `closed_form.py` never builds a
matrix.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.processes.matrices.checks import check_betas, check_size, check_symbols


def uniform(K: int, betas: Float[Tensor, "T"]) -> Float[Tensor, "T K K"]:
    """Q_t = (1 - beta_t) I + beta_t / K 1 1^T (A.2.1): with probability beta_t draw a new symbol, any of the K.

    Doubly stochastic; every start ends uniform. betas in (0, 1]; ValueError otherwise.
    """
    check_size(K)
    betas = check_betas(betas)[:, None, None]
    identity = torch.eye(K, dtype=betas.dtype, device=betas.device)
    return (1 - betas) * identity + betas / K


def absorbing(K: int, betas: Float[Tensor, "T"], mask: int | None = None) -> Float[Tensor, "T K K"]:
    """Q_t = (1 - beta_t) I + beta_t 1 e_m^T (A.2.2): with probability beta_t become the mask, which nothing leaves.

    `mask` is a state, by default the last one (K = V + 1 states, mask = V). betas in (0, 1]; ValueError otherwise.
    """
    check_size(K)
    mask = K - 1 if mask is None else mask
    check_symbols(torch.tensor([mask]), K, "The mask")
    betas = check_betas(betas)[:, None, None]
    identity = torch.eye(K, dtype=betas.dtype, device=betas.device)
    return (1 - betas) * identity + betas * identity[mask]


def gaussian(K: int, betas: Float[Tensor, "T"]) -> Float[Tensor, "T K K"]:
    """The discretised Gaussian (Eq. 8): symbol i moves to j with a weight that falls with the distance |i - j|.

    Off the diagonal exp(-4 |i - j|^2 / ((K - 1)^2 beta_t)), divided by the sum of that weight over all distances -(K
    - 1)..K - 1; the diagonal takes what is missing to 1. Symmetric, so doubly stochastic: every start ends uniform.
    It is meant for ordered symbols (pixel values); on token ids "distance" means nothing. beta_t in (0, 1] sets the
    width in units of the whole range K - 1, so that a small beta moves nothing when K is small; ValueError otherwise.
    """
    check_size(K)
    betas = check_betas(betas)[:, None, None]
    distance = torch.arange(K, dtype=betas.dtype, device=betas.device)
    weight = torch.exp(-4 * distance**2 / ((K - 1) ** 2 * betas[:, 0]))  # (T, K), for distances 0..K-1
    weight = weight / (2 * weight.sum(-1, keepdim=True) - weight[:, :1])  # both directions, distance 0 once
    apart = (distance[:, None] - distance).abs().long()  # (K, K)
    Q = weight[:, apart] * (apart > 0)
    return Q + torch.diag_embed(1 - Q.sum(-1))
