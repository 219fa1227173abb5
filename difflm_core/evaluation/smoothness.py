"""Is a latent space smooth? Two probes of a decoder, as COSMOS asks them of its autoencoders: between two texts, and
around one.

`decode(latents) -> logits (B, L, V)` reads latents on the diffusion's scale, as `TEncDM.decode` and `Cosmos.decode` do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.objectives.tencdm import word_nll
from difflm_core.processes.gaussian import GaussianProcess


@dataclass(frozen=True)
class Between:
    """Per weight: the mean cross-entropy in nats per token of the `first` and the `second` text, of the `nearer` of
    both words at each position, and the decoded `words`. In a smooth space every position reads as one of the two words
    all the way, and `nearer` stays low.
    """

    first: Float[Tensor, "W"]
    second: Float[Tensor, "W"]
    nearer: Float[Tensor, "W"]
    words: Int[Tensor, "W B L"]


@torch.no_grad()
def interpolate(
    decode: Callable,
    latents: Float[Tensor, "2 B N D"],
    ids: Int[Tensor, "2 B L"],
    mask: Bool[Tensor, "2 B L"],
    weights: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
) -> Between:
    """Decode (1 - w) z_first + w z_second for B pairs of texts. Positions count where both texts have a token."""
    both = mask[0] & mask[1]
    rows = []
    for weight in weights:
        logits = decode(torch.lerp(latents[0], latents[1], weight))[:, : ids.shape[2]]
        first, second = (word_nll(logits, words, both) for words in ids)
        means = [nll.sum() / both.sum() for nll in (first, second, torch.minimum(first, second))]
        rows.append((torch.stack(means), logits.argmax(-1)))
    curves = torch.stack([means for means, _ in rows], dim=1)
    return Between(*curves, torch.stack([words for _, words in rows]))


@torch.no_grad()
def decode_noisy(
    decode: Callable,
    process: GaussianProcess,
    latents: Float[Tensor, "B N D"],
    ids: Int[Tensor, "B L"],
    mask: Bool[Tensor, "B L"],
    times: Sequence[float],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "T"]:
    """Mean cross-entropy in nats per token of the true words, decoded from z_t at each of the times.

    Compare autoencoders by it only after standardising their latents: noise of one size must mean the same to both.
    """
    curve = []
    for time in times:
        z_t = process.corrupt(latents, torch.full((len(latents),), time, device=latents.device), generator)
        nll = word_nll(decode(z_t)[:, : ids.shape[1]], ids, mask)
        curve.append(nll.sum() / mask.sum())
    return torch.stack(curve)
