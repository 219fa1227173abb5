"""Networks. A `Denoiser` is anything with `hidden(z_t, t) -> (B, L, D)`, the costly trunk, and `logits(h) -> (..., V)`,
the head for chosen rows.
"""

from typing import Protocol

from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models.adapted import Adapted, annealed_mask, load_adapted, save_adapted
from difflm_core.models.attention import KeyValueCache
from difflm_core.models.block_transformer import BlockConfig, BlockTransformer
from difflm_core.models.cosmos import Cosmos, CosmosConfig
from difflm_core.models.cross_attention import CrossAttention, PerceiverBlock, SelfBlock
from difflm_core.models.diffusion_lm import DiffusionLM
from difflm_core.models.error_predictor import ErrorPredictor
from difflm_core.models.frozen import Encoder, Judge
from difflm_core.models.latent_classifier import LatentClassifier
from difflm_core.models.latent_decoder import DecoderConfig, LatentDecoder, PrefixDecoder
from difflm_core.models.latent_denoiser import LatentConfig, LatentDenoiser, by_level
from difflm_core.models.ld4lg import LD4LG
from difflm_core.models.leave_one_out import LeaveOneOut, WithOwnEvidence, leave_one_out, with_own_evidence
from difflm_core.models.masked_encoder import FrozenEncoder, MaskedEncoder
from difflm_core.models.perceiver import PerceiverConfig, Reconstruction, Resampler, on_sphere
from difflm_core.models.planner import Planner, PlannerConfig, code_kl, draw_codes
from difflm_core.models.pretrained import load_encoder, load_judge
from difflm_core.models.self_conditioning import self_conditioned
from difflm_core.models.standardise import Standardise
from difflm_core.models.stirred import Stirred
from difflm_core.models.tencdm import TEncDM
from difflm_core.models.token_decoder import MLPDecoder, TokenDecoderConfig, TransformerDecoder, until_end
from difflm_core.models.transformer import Transformer, TransformerConfig
from difflm_core.models.unet1d import UNet1d, UNet1dConfig
from difflm_core.models.vector_transformer import VectorConfig, VectorTransformer


class Denoiser(Protocol):
    V: int

    def hidden(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None) -> Float[Tensor, "B L D"]: ...

    def logits(self, h: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]: ...


__all__ = [
    "Adapted", "BlockConfig", "BlockTransformer", "Cosmos", "CosmosConfig", "CrossAttention", "DecoderConfig",
    "Denoiser", "DiffusionLM", "Encoder", "ErrorPredictor", "FrozenEncoder", "Judge", "KeyValueCache", "LD4LG",
    "LatentClassifier", "LatentConfig", "LatentDecoder", "LatentDenoiser", "LeaveOneOut", "MLPDecoder",
    "MaskedEncoder", "PerceiverBlock", "PerceiverConfig", "Planner", "PlannerConfig", "PrefixDecoder",
    "Reconstruction", "Resampler", "SelfBlock", "Standardise", "Stirred", "TEncDM", "TokenDecoderConfig",
    "Transformer", "TransformerConfig", "TransformerDecoder", "UNet1d", "UNet1dConfig", "VectorConfig",
    "VectorTransformer", "WithOwnEvidence", "annealed_mask", "by_level", "code_kl", "draw_codes", "leave_one_out",
    "load_adapted", "load_encoder", "load_judge", "on_sphere", "save_adapted", "self_conditioned", "until_end",
    "with_own_evidence",
]  # fmt: skip
