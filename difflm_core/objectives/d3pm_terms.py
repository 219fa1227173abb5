"""One term of D3PM's bound: KL(q(z_s | z_t, x) || p(z_s | z_t)); p is q with the prediction in the place of x (Eq. 4).

At s = 0 the first law is certain of x, so the same KL is -log p(x | z_t): L_0 needs no code of its own. Three ways to
compute it, all in nats per token, (B, L):

- masks only: (alpha_s - alpha_t) / (1 - alpha_t) times the cross-entropy at a mask, zero elsewhere. The head sees only
  masks.
- with uniform noise: the first law is one number everywhere but at x and z_t, so of a row of the vocabulary one sum and
  two entries are needed, however long the step.
- any matrices: both laws written out, O(K^2) per token.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.objectives.smoothed import smoothed_at
from difflm_core.objectives.vocabulary import nll_at

SMALLEST = 1e-30  # in the place of a noise floor of exactly 0, as it is at s = 0
NEVER = 1e-20  # a chance that is no part of a KL: 1e-20 log 1e-20 is below any rounding
LEFT_OVER = 1e-12  # a share of visible tokens at t = 1 that is only rounding


def reverse_kl(
    process, denoiser: Denoiser, h: Float[Tensor, "B L D"], x: Int[Tensor, "B L"], z_t: Int[Tensor, "B L"],
    s: Float[Tensor, "B"], t: Float[Tensor, "B"],
) -> Float[Tensor, "B L"]:  # fmt: skip
    """The KL from the trunk's output h = denoiser.hidden(z_t, t), the cheapest way. Pass s and t in float64."""
    if not hasattr(process, "masses"):
        return kl_by_matrices(process, denoiser, h, x, z_t, s, t)
    return (kl_with_uniform if process.has_uniform else kl_of_masks)(process, denoiser, h, x, z_t, s, t)


def kl_of_masks(process, denoiser, h, x, z_t, s, t) -> Float[Tensor, "B L"]:
    rows = z_t == process.mask_id
    alpha_s, alpha_t = process.schedule.alpha(s), process.schedule.alpha(t)
    nll = nll_at(denoiser, h, rows, x)  # (N,)
    revealed = (alpha_s - alpha_t) / (1 - alpha_t)  # (B,): the chance that a mask at t was still visible at s
    weight = revealed[:, None].expand(x.shape)[rows]
    return torch.zeros(x.shape, dtype=nll.dtype, device=x.device).masked_scatter(rows, nll * weight.to(nll.dtype))


def kl_with_uniform(process, denoiser, h, x, z_t, s, t) -> Float[Tensor, "B L"]:
    """With q(z_s = v | x) = alpha [v = x] + b and q(z_t | z_s) = stay [z_s = z_t] + land, the two joint laws are

        (stay [v = z_t] + land) (alpha [v = x] + b)      and      (stay [v = z_t] + land) (alpha p_v + b)

    at a clean token z_s = v, and the same at the mask. With k = alpha / b the log of their ratio is a difference,
    log(1 + k [v = x]) - log(1 + k p_v). The rest is bookkeeping: both are divided by their sums, `seen` and `guess`.
    """
    alpha, mask_mass, uniform_mass = (mass[:, None] for mass in process.masses(s))
    stay, to_mask, to_random = (mass[:, None] for mass in process.between(s, t))
    b = (uniform_mass / process.V).clamp_min(SMALLEST)
    k = (alpha / b).expand(x.shape)
    total, p_x, p_z = smoothed_at(denoiser, h, k, x, z_t.clamp_max(process.V - 1))
    of_x, of_z = (k * p_x).log1p(), (k * p_z).log1p()  # float64: differences of nearly equal numbers follow

    at_mask, right = z_t == process.mask_id, z_t == x
    land = torch.where(at_mask, to_mask, to_random / process.V)
    at_x = land + torch.where(right, stay, 0.0)  # q(z_t | z_s = x)
    others = b * (land * total + torch.where(at_mask, 0.0, stay * of_z))
    inner = at_x * ((alpha + b) * k.log1p() - alpha * of_x) - others
    seen = land + stay * torch.where(at_mask, mask_mass, b + torch.where(right, alpha, 0.0))  # q(z_t | x)
    guess = land + stay * torch.where(at_mask, mask_mass, b + alpha * p_z)
    return (inner / seen - (seen / guess).log()).to(total.dtype)


def kl_by_matrices(process, denoiser, h, x, z_t, s, t) -> Float[Tensor, "B L"]:
    logits = denoiser.logits(h)
    p = (logits if logits.dtype.itemsize > 4 else logits.float()).softmax(-1)  # (B, L, V)
    return kl(process.posterior(z_t, x, s, t), process.posterior(z_t, p, s, t))


def kl(q: Float[Tensor, "*N K"], p: Float[Tensor, "*N K"]) -> Float[Tensor, "*N"]:
    """sum_v q log(q / p); infinite where p excludes what q allows.

    Chances below NEVER add nothing: far down a Gaussian's tail p may round to 0 where q is just above it.
    """
    p = torch.where(q > NEVER, p, 1.0)
    return torch.special.xlogy(q, q).sum(-1) - (q * p.log()).sum(-1)


def prior_kl(process, x: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """L_T = KL(q(z_1 | x) || the law that sampling starts from), in float64. Nothing in it is learned.

    Raises ValueError if tokens are still visible at t = 1 where sampling starts from masks alone: the bound is then
    infinite.
    """
    if not hasattr(process, "masses"):
        each = kl(process.Qbar[-1, : process.V], process.law)  # (V,)
        check_finite(bool(each.isfinite().all()))
        return each.double()[x]
    one = torch.ones(1, dtype=torch.float64, device=x.device)
    alpha, mask_mass, uniform_mass = (mass.clamp_min(0) for mass in process.masses(one))
    if bool(alpha <= LEFT_OVER):
        return torch.zeros(x.shape, dtype=torch.float64, device=x.device)
    check_finite(process.has_uniform and bool(uniform_mass > 0))
    b = uniform_mass / process.V
    lost = 1 - alpha  # sampling starts from the masses of mask and uniform, each divided by this
    right = torch.special.xlogy(alpha + b, (alpha + b) * lost / b)
    return (right + ((process.V - 1) * b + mask_mass) * lost.log()).expand(x.shape)


def check_finite(finite: bool) -> None:
    if not finite:
        raise ValueError("Some tokens are still visible at t = 1, but sampling starts from masks only, so the bound is "
                         "infinite; use a schedule that ends with all tokens masked, as `reciprocal_betas` does.")
