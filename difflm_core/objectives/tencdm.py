"""TEncDM's decoder loss: words from encodings that carry a little of the diffusion's own noise (Shabalin et al. 2024,
section 5.2).

A sampler's last answer is never quite an encoding. A decoder that has seen only clean encodings reads the difference as
words; one that has seen z_t for small t has learned to look past it. The noise is added by the diffusion's schedule, so
that 0.15 means more of it on tan-9 (alpha down to 0.18) than on the cosine (down to 0.95).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models.tencdm import TEncDM
from difflm_core.objectives.times import stratified_times
from difflm_core.processes.gaussian import GaussianProcess


def tencdm_decoder_loss(
    model: TEncDM,
    process: GaussianProcess,
    h: Float[Tensor, "B L D"],
    mask: Bool[Tensor, "B L"],
    ids: Int[Tensor, "B L"],
    generator: torch.Generator | None = None,
    corrupt_up_to: float = 0.15,
) -> Float[Tensor, "B L"]:
    """-log p(word | z_t) in nats, t ~ U(0, corrupt_up_to), one t per text; 0 at padding. `corrupt_up_to` = 0 is the
    decoder without corruption. Raises ValueError for one outside [0, 1].
    """
    if not 0 <= corrupt_up_to <= 1:
        raise ValueError(f"corrupt_up_to is the largest time that the decoder sees, in [0, 1], got {corrupt_up_to}.")
    z = model.encode(h, mask, ids)
    if corrupt_up_to:
        z = process.corrupt(z, corrupt_up_to * stratified_times(len(z), generator, z.device), generator)
    return word_nll(model.decode(z), ids, mask)


def word_nll(
    logits: Float[Tensor, "B L V"], ids: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"]
) -> Float[Tensor, "B L"]:
    """-log softmax(logits)[id] in nats, 0 at padding, whose ids are not looked at."""
    nll = F.cross_entropy(logits.flatten(0, 1), ids.masked_fill(~mask, 0).flatten(), reduction="none")
    return nll.view(ids.shape).masked_fill(~mask, 0.0)
