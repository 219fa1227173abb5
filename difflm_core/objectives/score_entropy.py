"""SEDD's score entropy for masks (Lou et al. 2024, arXiv 2310.16834), for comparison: another road to the same loss.

SEDD learns how much likelier each text y with one token filled in is than the masked one, s_y = p_t(y) / p_t(z). For a
known clean token x the true ratio is r = 1 / (e^sigma - 1) at y = x and 0 elsewhere, with e^-sigma = alpha_t. The score
entropy is smallest where s equals that ratio on average, and weighted by sigma' it is an ELBO:

    sigma'(t) [ sum over y of s_y  -  r log s_x  +  r (log r - 1) ]    at every masked position.

A network that gives probabilities p has the scores s_y = r p_y. Put in, the sum is r and cancels, r log r too, and what
is left is -sigma' r log p_x = -alpha' / (1 - alpha) log p_x: MDLM's weighted cross-entropy. So the weights of one model
can be scored by the loss of the other (`masked_nelbo(...) == score_entropy(...)`, token by token).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.processes import DiscreteProcess


def log_ratio(process: DiscreteProcess, t: Float[Tensor, "B"]) -> Float[Tensor, "B 1"]:
    """log 1 / (e^sigma - 1) = log alpha / (1 - alpha)."""
    alpha = process.schedule.alpha(t)
    return (alpha.log() - (-alpha).log1p())[:, None]


def log_scores(
    process: DiscreteProcess, denoiser: Denoiser, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"]
) -> Float[Tensor, "B L V"]:
    """log s_y of a masked-diffusion model, what a SEDD network would answer. It means something at masks only."""
    logits = denoiser.logits(denoiser.hidden(z_t, t))  # (B, L, V): for comparison, so all positions may be looked at
    logits = logits if logits.dtype.itemsize > 4 else logits.float()
    return logits.log_softmax(-1) + log_ratio(process, t).to(logits.dtype)[..., None]


def score_entropy_at(
    process: DiscreteProcess,
    log_s: Float[Tensor, "B L V"],
    x: Int[Tensor, "B L"],
    z_t: Int[Tensor, "B L"],
    t: Float[Tensor, "B"],
) -> Float[Tensor, "B L"]:
    """SEDD's loss of any log-scores at a given z_t: nats per token, weighted by sigma'(t), zero where z_t is visible.
    An average over t ~ U(0, 1) is a bound on -log p(x). t in (0, 1): at both ends the ratio is 0 or infinite.
    """
    if process.has_uniform:
        raise ValueError("This score entropy is for masking only: take a process built by `masked`.")
    log_r = log_ratio(process, t).to(log_s.dtype)
    log_s_x = log_s.gather(-1, x[..., None])[..., 0]
    entropy = log_s.exp().sum(-1) + log_r.exp() * (log_r - 1 - log_s_x)
    rate = -process.schedule.dalpha(t) / process.schedule.alpha(t)  # sigma'(t), (B,)
    return torch.where(z_t == process.mask_id, rate.to(log_s.dtype)[:, None] * entropy, 0.0)


def score_entropy(
    process: DiscreteProcess,
    denoiser: Denoiser,
    x: Int[Tensor, "B L"],
    t: Float[Tensor, "B"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B L"]:
    """A masked-diffusion model scored by SEDD's loss, one time per row; with the same generator it is equal to
    `masked_nelbo`, for the price of the whole vocabulary at every position.
    """
    z_t = process.corrupt(x, t, generator)
    return score_entropy_at(process, log_scores(process, denoiser, z_t, t), x, z_t, t)
