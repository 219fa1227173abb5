"""LD4LG's two losses before diffusion: pretraining the decoder, then the bottleneck. Both are cross-entropy alone: the
latents carry no KL term, and nothing but the norm constraint says where they lie (Lovelace et al. 2023, section 3).

Diffusion on the latents is `latent_loss` with kind "v" on `ShiftedCosine(1.0)` = cos^2(pi t / 2), and a network asked
`by_level`; it is sampled with `large_step`.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models.latent_decoder import LatentDecoder
from difflm_core.models.ld4lg import LD4LG
from difflm_core.objectives.written import written_nll


def denoising_loss(
    decoder: LatentDecoder,
    h: Float[Tensor, "B L D"],
    ids: Int[Tensor, "B L"],
    mask: Bool[Tensor, "B L"] | None = None,
) -> Float[Tensor, "B"]:
    """-log p(clean text | all states of the corrupted one) in nats per text (Lewis et al. 2020, BART): h are the
    encoder's states of the corrupted text, ids the clean text.
    """
    return written_nll(decoder, h, ids, mask, mask).sum(1)


def ld4lg_loss(
    model: LD4LG, h: Float[Tensor, "B L D"], ids: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"] | None = None
) -> Float[Tensor, "B"]:
    """-log p(text | its latents) in nats per text."""
    return written_nll(model.decoder, model.context(model.encode(h, mask)), ids, mask).sum(1)
