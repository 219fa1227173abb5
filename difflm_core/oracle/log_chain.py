"""Forward-backward with logarithms, for the rare rows whose probabilities span more than float64 can hold.

The same sweeps as forward_backward.py, with (+, logsumexp) for (*, +). A log-domain matrix product cannot use a fast
matrix multiplication, so only the non-zero entries of each row are visited.
"""

import torch
from jaxtyping import Float
from torch import Tensor

ROWS_AT_ONCE = 16


def log_product(rows: Float[Tensor, "*B N"], matrix: Float[Tensor, "M N"]) -> Float[Tensor, "*B M"]:
    """log(matrix @ exp(row)) for every row, over the non-zero entries of the matrix only."""
    K = int((matrix > 0).sum(-1).max())
    weight, column = matrix.topk(K, dim=-1)  # (M, K)
    return torch.logsumexp(rows[..., column] + weight.log(), dim=-1)


def forward(chain, log_seen: Float[Tensor, "B L S"]) -> Float[Tensor, "B L S"]:
    """log p(z_1..z_{i-1}, s_i)."""
    left = torch.empty_like(log_seen)
    left[:, 0] = chain.initial.log()
    for i in range(1, left.shape[1]):
        left[:, i] = log_product(left[:, i - 1] + log_seen[:, i - 1], chain.transition.T)
    return left


def backward(chain, log_seen: Float[Tensor, "B L S"]) -> Float[Tensor, "B L S"]:
    """log p(z_{i+1}..z_L | s_i)."""
    right = torch.zeros_like(log_seen)
    for i in range(right.shape[1] - 2, -1, -1):
        right[:, i] = log_product(right[:, i + 1] + log_seen[:, i + 1], chain.transition)
    return right


def log_likelihood(chain, log_evidence: Float[Tensor, "B L V"]) -> Float[Tensor, "B"]:
    """log of sum over x of p(x) * product_i evidence[i, x_i]."""
    def one(rows):
        seen = log_product(rows, chain.emission)
        return torch.logsumexp(forward(chain, seen)[:, -1] + seen[:, -1], -1)
    return torch.cat([one(rows) for rows in log_evidence.split(ROWS_AT_ONCE)])


def posterior(chain, log_evidence: Float[Tensor, "B L V"]) -> Float[Tensor, "B L V"]:
    """p(x_i = v | z) for rows that at least one text explains."""
    def one(rows):
        seen = log_product(rows, chain.emission)
        around = forward(chain, seen) + backward(chain, seen)
        return torch.softmax(log_product(around, chain.emission.T) + rows, dim=-1)
    return torch.cat([one(rows) for rows in log_evidence.split(ROWS_AT_ONCE)])
