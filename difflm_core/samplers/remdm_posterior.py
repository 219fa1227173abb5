"""One step of a masked sampler that may also take tokens back: ReMDM's posterior (Wang et al. 2025, Eq. 6-7).

In a step from t to an earlier s, with alpha the probability that a token is visible and sigma a number we are free to
choose,

    a visible token stays with probability 1 - sigma and is masked again with probability sigma;
    a masked one is revealed with probability (alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t), else it stays masked.

Whatever sigma is, a token that was visible with probability alpha_t is then visible with probability alpha_s (Theorem
3.1): what is taken back is made up for by revealing more. That needs probabilities, so 0 <= sigma <= sigma_max =
min(1, (1 - alpha_s) / alpha_t). Every sampler of this family is a choice of sigma: 0 is MDLM's ancestral step, 1 -
alpha_s is the star step (the whole text is drafted and then noised afresh).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Moves(NamedTuple):
    """Probabilities: `keep` and `remask` (they sum to 1) for a visible token, `reveal` for a masked one."""

    keep: Float[Tensor, "*#BL"]
    reveal: Float[Tensor, "*#BL"]
    remask: Float[Tensor, "*#BL"]


def sigma_max(alpha_t: Float[Tensor, "*#BL"], alpha_s: Float[Tensor, "*#BL"]) -> Float[Tensor, "*#BL"]:
    """The largest sigma that leaves every probability in [0, 1] (Eq. 7)."""
    # At alpha_t = 0 nothing is visible and any sigma will do: the bound is 1.
    return ((1 - alpha_s) / alpha_t.clamp_min(torch.finfo(alpha_t.dtype).tiny)).clamp(0, 1)


def remdm_posterior(
    alpha_t: Float[Tensor, "*#BL"], alpha_s: Float[Tensor, "*#BL"], sigma: Float[Tensor, "*#BL"] | float
) -> Moves:
    """The moves from t to s. The arguments broadcast; alpha_s may equal alpha_t (ReMDM's loop holds the level).

    Raises ValueError for a level that falls, or a sigma outside [0, sigma_max].
    """
    if bool((alpha_s < alpha_t).any()):
        raise ValueError("A reverse step goes towards the data: alpha_s must not be smaller than alpha_t.")
    sigma = torch.as_tensor(sigma, dtype=alpha_t.dtype, device=getattr(sigma, "device", None))
    check_sigma(sigma, sigma_max(alpha_t, alpha_s), alpha_t, alpha_s)
    masked = (1 - alpha_t).clamp_min(torch.finfo(alpha_t.dtype).tiny)  # at alpha_t = 1 no mask is left to reveal
    reveal = ((alpha_s - (1 - sigma) * alpha_t) / masked).clamp(0, 1)
    return Moves(1 - sigma, reveal, sigma)


def check_sigma(sigma, largest, alpha_t, alpha_s) -> None:
    wrong = ~((sigma >= 0) & (sigma <= largest + 1e-6))  # NaN is wrong too; 1e-6: rounding
    if bool(wrong.any()):
        sigma, largest, alpha_t, alpha_s = torch.broadcast_tensors(
            sigma.cpu(), largest.cpu(), alpha_t.cpu(), alpha_s.cpu()
        )
        where = wrong.cpu().expand(sigma.shape)
        found, bound, high, low = (part[where][0].item() for part in (sigma, largest, alpha_t, alpha_s))
        raise ValueError(
            f"sigma = {found:.4g} lies outside [0, {bound:.4g}], where remasking keeps probabilities (from "
            f"alpha_t = {high:.4g} to alpha_s = {low:.4g}): cut it at sigma_max(alpha_t, alpha_s), as remdm_cap does."
        )
