"""TEncDM's latents: the states of a frozen encoder, one per token, standardised (Shabalin et al. 2024, section 5).

    words  ->  frozen encoder  ->  standardise  ->  [diffusion]  ->  non-autoregressive decoder  ->  words

The state of a special token is a summary of the text that happens to stand there, with a scale of its own. So special
tokens get their embeddings instead, scaled to mean square 1, and padding gets zeros, both on the standardised scale, as
in the released code. Statistics are taken over words only.

The released decoder reads vectors on the encoder's own scale. Here it reads them standardised: the first linear map of
either decoder contains the difference.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from difflm_core.models.cross_attention import check_states
from difflm_core.models.masked_encoder import FrozenEncoder
from difflm_core.models.standardise import Standardise

Encoded = tuple[Float[Tensor, "B L D"], Bool[Tensor, "B L"], Int[Tensor, "B L"]]  # states, mask, ids


class TEncDM(nn.Module):
    """`encode(h, mask, ids) -> z (B, L, D)` and `decode(z) -> logits (B, L, V)`; nothing of the encoder is kept but
    its name and the embeddings of its special tokens. `measure` comes first.
    """

    def __init__(self, encoder: FrozenEncoder, decoder: nn.Module):
        super().__init__()
        self.D, self.decoder = encoder.dim, decoder
        self.standardise = Standardise((self.D,), encoder.name)
        special = encoder.special_ids.to(encoder.embeddings.device)
        vectors = F.rms_norm(encoder.embeddings.detach()[special].float(), (self.D,))
        self.register_buffer("special_ids", special.clone())
        self.register_buffer("special", vectors.clone())  # (S, D)

    def measure(self, batches: Iterable[Encoded]) -> "TEncDM":
        """Take the statistics from batches (h, mask, ids) of the training set, words only; returns self."""
        self.standardise.measure(h[self.words(mask, ids)] for h, mask, ids in batches)
        return self

    def encode(
        self, h: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"], ids: Int[Tensor, "B L"]
    ) -> Float[Tensor, "B L D"]:
        """Latents of texts; mask is True at tokens. What h holds at padding and at special tokens is not looked at.
        Raises ValueError without statistics and for shapes that do not fit.
        """
        check_states(h, mask, self.D, h.shape[1])
        if ids.shape != mask.shape:
            raise ValueError(f"There are {tuple(ids.shape)} ids for states {tuple(h.shape)}: give one id per state.")
        z = torch.where(mask[..., None], self.standardise(h), 0.0)
        for i, vector in zip(self.special_ids, self.special):
            z = torch.where((mask & (ids == i))[..., None], vector.to(z.dtype), z)
        return z

    def decode(self, z: Float[Tensor, "B L D"]) -> Float[Tensor, "B L V"]:
        return self.decoder(z)

    def words(self, mask: Bool[Tensor, "B L"], ids: Int[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
        """True at tokens that are not special."""
        return mask & ~torch.isin(ids, self.special_ids.to(ids.device))
