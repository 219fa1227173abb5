"""GIDD's bound: what a denoiser pays when any visible token may be wrong (von Ruette et al. 2025, Thm 3.7).

Write b for the chance that noise writes one particular clean token, so that q_t(v | x) = alpha [v = x] + b over the V
clean tokens; q_t(v | x_theta) = alpha p_v + b is the same with the prediction p in the place of x. In continuous time,
for every process of the family (masks, uniform noise, both),

    NELBO(x) = E_{t ~ U(0,1)} E_{z_t}  sum_i  w_t(z_i, x_i) ( KL(q_t(. | x_i) || q_t(. | x_theta)) + r - log r - 1 ),
    r = q_t(z_i | x_i) / q_t(z_i | x_theta),

where w_t(z, x) is the rate at which noise jumps onto z over the chance q_t(z | x) to be there. The pointwise term is
the Itakura-Saito divergence. The two terms that stand outside, reconstruction at t = 0 and prior at t = 1, are zero if
alpha goes from 1 to 0. With masks alone the bound is `masked_nelbo`; with uniform noise alone it is UDLM's.

Which denoiser is perfect? The p that makes this bound equal to -log p(x) is p(x_i | z without z_i, t): what the *other*
positions say (`LeaveOneOut` in models). The posterior p(x_i | z_t) counts the evidence of z_i twice, for q_t(. |
x_theta) brings it in again; only under pure masking is there no difference.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.objectives.gidd_weightings import dynamic
from difflm_core.objectives.smoothed import smoothed_at
from difflm_core.objectives.vocabulary import nll_at
from difflm_core.processes import DiscreteProcess
from difflm_core.processes.discrete import inside

Weighting = Callable[..., Float[Tensor, "B L"]]  # (w, process, x, z_t, t) -> the weight to train with


def gidd_nelbo(
    process: DiscreteProcess, denoiser: Denoiser, x: Int[Tensor, "B L"], t: Float[Tensor, "B"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B L"]:  # fmt: skip
    """One-sample estimate of the continuous-time bound, nats per token, one time t per row. Unbiased over t ~ U(0, 1).

    Report this, whatever weights trained the network, but with hybrid noise draw it as `gidd_nelbo_warped` does: a
    wrong token at small t is rare and counts as 1/t, so that over t ~ U(0, 1) the variance is infinite. An average of a
    few thousand draws then mostly lies below the bound, with an error bar that does not say so.
    """
    return gidd_at(process, denoiser, x, process.corrupt(x, t, generator), t)


def gidd_nelbo_warped(
    process: DiscreteProcess, denoiser: Denoiser, x: Int[Tensor, "B L"], u: Float[Tensor, "B"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B L"]:  # fmt: skip
    """`gidd_nelbo` at t = u^3, times dt/du: the same bound for u ~ U(0, 1), with finite variance for hybrid noise."""
    loss = gidd_nelbo(process, denoiser, x, u**3, generator)
    return loss * (3 * u**2).to(loss.dtype)[:, None]


def gidd_loss(
    process: DiscreteProcess, denoiser: Denoiser, x: Int[Tensor, "B L"], t: Float[Tensor, "B"],
    generator: torch.Generator | None = None, weighting: Weighting = dynamic(),
) -> Float[Tensor, "B L"]:  # fmt: skip
    """The training loss: the same divergences with tamer weights, `clamped(w_max)`, `dynamic(w_max)` or
    `relative(w_max)`. Not a bound: report `gidd_nelbo`.
    """
    return gidd_at(process, denoiser, x, process.corrupt(x, t, generator), t, weighting)


def gidd_at(
    process: DiscreteProcess, denoiser: Denoiser, x: Int[Tensor, "B L"], z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"],
    weighting: Weighting | None = None,
) -> Float[Tensor, "B L"]:  # fmt: skip
    """The integrand at a given z_t. Raises ValueError for a denoiser of another vocabulary or weights not finite."""
    if denoiser.V != process.V:
        raise ValueError(
            f"The denoiser predicts {denoiser.V} tokens but the process has {process.V}: build both for one vocabulary."
        )
    weight = elbo_weights(process, x, z_t, t)
    if weighting is not None:
        weight = weighting(weight, process, x, z_t, t)
    if weight.device.type == "cpu" and not bool(weight.isfinite().all()):
        raise ValueError(
            "A loss weight is not finite: z_t cannot have come from x, or the weighting function gave inf or NaN."
        )
    divergence = (hybrid_divergence if process.has_uniform else masked_divergence)(process, denoiser, x, z_t, t)
    return weight.to(divergence.dtype) * divergence


def elbo_weights(
    process: DiscreteProcess, x: Int[Tensor, "B L"], z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"]
) -> Float[Tensor, "B L"]:
    """w_t(z, x) = jump rate onto z / q_t(z | x), float64 (GIDD Thm 3.7). Its mean over z_t is -alpha'/alpha.

    For `hybrid` with gamma = 1: 1 / (t (1 - t)) on a mask, half of that on a wrong token, and on a right one that half
    times b / (alpha + b).
    """
    alpha, mask_mass, uniform_mass = (mass[:, None] for mass in process.masses(inside(t)))
    to_mask, to_random = (rate[:, None] for rate in process.jump_rates(t))
    b = uniform_mass / process.V
    visible = torch.where(z_t == x, to_random / process.V / (alpha + b), to_random / uniform_mass)
    return torch.where(z_t == process.mask_id, to_mask / mask_mass, visible)


def masked_divergence(process, denoiser, x, z_t, t) -> Float[Tensor, "B L"]:
    """No random tokens: KL is alpha times the cross-entropy on a mask, 0 elsewhere: only masked rows need the head."""
    rows = z_t == process.mask_id
    nll = nll_at(denoiser, denoiser.hidden(z_t, t), rows, x)  # (N,)
    alpha = process.masses(inside(t))[0].to(nll.dtype)
    return torch.zeros(x.shape, dtype=nll.dtype, device=x.device).masked_scatter(rows, nll) * alpha[:, None]


def hybrid_divergence(process, denoiser, x, z_t, t) -> Float[Tensor, "B L"]:
    """KL + Itakura-Saito at every position. With k = alpha / b and everything in units of b,

        KL / b = (1 + k) log(1 + k) - k log(1 + k p_x) - sum_v log(1 + k p_v),

    so of a row of the vocabulary only one sum and two entries are needed: no one-hot, no log q. `log(1 + .)` keeps it
    exact where the text is almost pure noise (k -> 0) and this is a small difference of large terms.
    """
    alpha, _, uniform_mass = (mass[:, None] for mass in process.masses(inside(t)))
    b = (uniform_mass / process.V).clamp_min(1e-30)
    k = (alpha / b).expand(x.shape)  # (B, L)
    total, p_x, p_z = smoothed_at(denoiser, denoiser.hidden(z_t, t), k, x, z_t.clamp_max(process.V - 1))
    kl = b * ((1 + k) * k.log1p() - k * (k * p_x).log1p() - total)
    log_r = torch.where(z_t == x, k.log1p(), 0) - (k * p_z).log1p()
    log_r = torch.where(z_t == process.mask_id, 0, log_r)  # the mask has the same chance under both
    return (kl + log_r.expm1() - log_r).to(total.dtype)
