"""Networks. A `Denoiser` is anything with `hidden(z_t, t) -> (B, L, D)`, the costly trunk, and `logits(h) -> (..., V)`,
the head for chosen rows.
"""

from typing import Protocol

from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models.attention import KeyValueCache
from difflm_core.models.diffusion_lm import DiffusionLM
from difflm_core.models.error_predictor import ErrorPredictor
from difflm_core.models.latent_classifier import LatentClassifier
from difflm_core.models.leave_one_out import LeaveOneOut, leave_one_out
from difflm_core.models.self_conditioning import self_conditioned
from difflm_core.models.transformer import Transformer, TransformerConfig
from difflm_core.models.unet1d import UNet1d, UNet1dConfig
from difflm_core.models.vector_transformer import VectorConfig, VectorTransformer


class Denoiser(Protocol):
    V: int

    def hidden(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None) -> Float[Tensor, "B L D"]: ...

    def logits(self, h: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]: ...


__all__ = [
    "Denoiser", "DiffusionLM", "ErrorPredictor", "KeyValueCache", "LatentClassifier", "LeaveOneOut", "Transformer",
    "TransformerConfig", "UNet1d", "UNet1dConfig", "VectorConfig", "VectorTransformer", "leave_one_out",
    "self_conditioned",
]  # fmt: skip
