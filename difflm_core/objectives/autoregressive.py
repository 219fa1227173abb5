"""The autoregressive twin's loss: the chain rule, log p(x) = sum over i of log p(x_i | x_1..x_{i-1}). Exact, not a
bound.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import Transformer


def shift_right(x: Int[Tensor, "B L"], start: int) -> Int[Tensor, "B L"]:
    """What a causal model reads: a start symbol, then all tokens but the last. The twin uses the mask's row as its
    start symbol.
    """
    return torch.cat([torch.full_like(x[:, :1], start), x[:, :-1]], dim=1)


def autoregressive_nll(model: Transformer, x: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """-log p(x_i | x_<i) in nats per token."""
    if not model.config.causal:
        raise ValueError(
            "The autoregressive loss needs a causal model: a bidirectional one would see the token that it must "
            "predict."
        )
    logits = model(shift_right(x, model.mask_id))  # (B, L, V)
    logits = logits if logits.dtype.itemsize > 4 else logits.float()
    return F.cross_entropy(logits.transpose(1, 2), x, reduction="none")
