"""What a text costs that is written word by word from a few vectors: -log p(text | vectors), by the chain rule."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models.latent_decoder import LatentDecoder, PrefixDecoder
from difflm_core.objectives.autoregressive import shift_right


def written_nll(
    decoder: LatentDecoder | PrefixDecoder,
    vectors: Float[Tensor, "B M D"],
    ids: Int[Tensor, "B L"],
    mask: Bool[Tensor, "B L"] | None = None,
    vectors_mask: Bool[Tensor, "B M"] | None = None,
) -> Float[Tensor, "B L"]:
    """-log p(x_i | x_<i, vectors) in nats per token, 0 at padding (mask False), which stands on the right.

    `vectors_mask`, for a `LatentDecoder` only, leaves out padding among the vectors. The head is asked at real tokens
    only. Raises ValueError for a mask of another shape.
    """
    if mask is None:
        mask = torch.ones_like(ids, dtype=torch.bool)
    if mask.dtype != torch.bool or mask.shape != ids.shape:
        raise ValueError(f"The mask of ids {tuple(ids.shape)} must be booleans of that shape, True at real tokens.")
    read = shift_right(ids, decoder.V)
    rest = () if vectors_mask is None else (None, vectors_mask)
    logits = decoder.logits(decoder.hidden(read, vectors, *rest)[mask])  # (real tokens, V)
    logits = logits if logits.dtype.itemsize > 4 else logits.float()
    nats = F.cross_entropy(logits, ids[mask], reduction="none")
    return torch.zeros(ids.shape, dtype=nats.dtype, device=nats.device).masked_scatter(mask, nats)
