"""Networks. A `Denoiser` is anything with `hidden(z_t, t) -> (B, L, D)`, the costly trunk, and `logits(h) -> (..., V)`,
the head for chosen rows.
"""

from typing import Protocol

from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models.attention import KeyValueCache
from difflm_core.models.error_predictor import ErrorPredictor
from difflm_core.models.leave_one_out import LeaveOneOut, leave_one_out
from difflm_core.models.transformer import Transformer, TransformerConfig


class Denoiser(Protocol):
    V: int

    def hidden(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None) -> Float[Tensor, "B L D"]: ...

    def logits(self, h: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]: ...


__all__ = [
    "Denoiser", "ErrorPredictor", "KeyValueCache", "LeaveOneOut", "Transformer", "TransformerConfig", "leave_one_out",
]  # fmt: skip
