"""COSMOS's autoencoder loss, and the four ways to train it that the paper compares (Meshchaninov et al. 2025).

    CE(w, head(h_hat))  +  mse * |h_hat - h|^2,    h: the clean standardised states of the encoder

An autoencoder that is only asked for its words may place its latents anywhere, with holes between them into which
diffusion falls. Three things make it robust, hence smooth; each costs a little reconstruction:

    mse      h_hat must be the encoder's states, not just words
    hide     in the first half of a batch, each token is hidden from the compressor with this probability
    keep     in the second half, the compressor reads keep * h + sqrt(1 - keep^2) * eps
    drop     of the latents, each number is set to 0 with this probability, and the others are *not* scaled up

The noise is added to standardised states, before any trained layer: a layer could make its input large and the noise
harmless. Hidden tokens are left out of the compressor's attention; the released code also means to set them to zero,
but overwrites that, and out of attention their values cannot matter.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models.cosmos import Cosmos
from difflm_core.objectives.tencdm import word_nll


@dataclass(frozen=True)
class Smoothing:
    """See above; the defaults are the released configuration."""

    mse: float = 1.0
    hide: float = 0.3
    keep: float = 0.7
    drop: float = 0.4

    def __post_init__(self):
        shares = (self.hide, self.keep, self.drop)
        if self.mse < 0 or not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"mse is at least 0, hide, keep and drop lie in [0, 1], got {self.mse} and {shares}.")


def stages(hide: float = 0.3, keep: float = 0.7, drop: float = 0.4) -> dict[str, Smoothing]:
    """The paper's four autoencoders, each with all that the one before it has, at these strengths."""
    return {
        "CE": Smoothing(mse=0, hide=0, keep=1, drop=0),
        "CE + MSE": Smoothing(hide=0, keep=1, drop=0),
        "+ perturbed states": Smoothing(hide=hide, keep=keep, drop=0),
        "+ masked latents": Smoothing(hide=hide, keep=keep, drop=drop),
    }


STAGES = stages()  # as released


@dataclass(frozen=True)
class CosmosLoss:
    """Per token, 0 at padding: `ce` in nats, `mse` the squared error of h_hat averaged over its numbers, and `total`,
    what is trained on.
    """

    ce: Float[Tensor, "B L"]
    mse: Float[Tensor, "B L"]
    total: Float[Tensor, "B L"]


def cosmos_loss(
    model: Cosmos,
    h: Float[Tensor, "B L D"],
    mask: Bool[Tensor, "B L"],
    ids: Int[Tensor, "B L"],
    smoothing: Smoothing = STAGES["+ masked latents"],
    generator: torch.Generator | None = None,
) -> CosmosLoss:
    """h (B, L, D) are the encoder's states, mask (B, L) is True at tokens. Raises ValueError for states of another
    shape and a model without statistics of its features.
    """
    features = model.read(h, mask)
    seen, visible = perturb(features, mask, smoothing, generator)
    z = drop_numbers(model.compress(seen, visible), smoothing.drop, generator)
    logits, h_hat = (given[:, : h.shape[1]] for given in model.decompress(z))
    ce = word_nll(logits, ids, mask)
    mse = (h_hat - features).square().mean(-1).masked_fill(~mask, 0.0)
    return CosmosLoss(ce, mse, ce + smoothing.mse * mse)


def perturb(
    features: Float[Tensor, "B L D"],
    mask: Bool[Tensor, "B L"],
    smoothing: Smoothing,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, "B L D"], Bool[Tensor, "B L"]]:
    """(what the compressor reads, which tokens it sees): the first half of the rows with hidden tokens, the rest with
    noise. A text of which nothing would be left is not hidden.
    """
    hiding = (torch.arange(len(features), device=mask.device) < len(features) // 2)[:, None]
    hidden = torch.rand(mask.shape, generator=generator, device=mask.device) < smoothing.hide
    visible = mask & ~(hiding & hidden)
    visible = torch.where(visible.any(1, keepdim=True), visible, mask)
    noise = torch.randn(features.shape, generator=generator, device=features.device, dtype=features.dtype)
    noisy = smoothing.keep * features + (1 - smoothing.keep**2) ** 0.5 * noise
    return torch.where(hiding[..., None], features, noisy), visible


def drop_numbers(
    z: Float[Tensor, "B N E"], probability: float, generator: torch.Generator | None = None
) -> Float[Tensor, "B N E"]:
    """z with each number set to 0 with the given probability, without rescaling."""
    dropped = torch.rand(z.shape, generator=generator, device=z.device) < probability
    return z.masked_fill(dropped, 0.0)
