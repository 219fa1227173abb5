"""LD4LG's autoencoder: between a frozen encoder and a frozen decoder, a bottleneck that is all diffusion has to fill
(Lovelace et al. 2023, section 3).

    text -> frozen encoder -> h (B, L, D) -> Resampler -> latents (B, N, D_ae)
         -> Reconstruction -> (B, N, D) -> frozen decoder, by cross-attention -> text

Encoder and decoder are a language model that was pretrained as a denoising autoencoder: the decoder first learned to
write the clean text from the states of a corrupted one (`denoising_loss`; BART in the paper). Only then the two small
networks between them learn, on cross-entropy alone. Training all at once would be another method.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from difflm_core.models.latent_decoder import LatentDecoder
from difflm_core.models.perceiver import PerceiverConfig, Reconstruction, Resampler


class LD4LG(nn.Module):
    """`encode(h, mask) -> latents (B, N, D_ae)`; `context(latents) -> (B, N, D)` is what `decoder` attends to.

    The pretrained decoder is frozen here. Raises ValueError if it does not read the encoder's width D.
    """

    def __init__(self, config: PerceiverConfig, decoder: LatentDecoder):
        super().__init__()
        if decoder.config.D != config.D:
            raise ValueError(
                f"The decoder was pretrained on states of {decoder.config.D} numbers, the encoder's have {config.D}: "
                "pretrain it on the states of this encoder."
            )
        self.config = config
        self.resampler, self.reconstruction = Resampler(config), Reconstruction(config)
        self.decoder = decoder.requires_grad_(False)

    def encode(self, h: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B N E"]:
        return self.resampler(h, mask)

    def context(self, latents: Float[Tensor, "B N E"]) -> Float[Tensor, "B N D"]:
        return self.reconstruction(latents)
