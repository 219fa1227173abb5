"""The masked-diffusion bound: a weighted cross-entropy on the masked tokens.

With alpha_t the probability that a token is still visible at time t, and a denoiser that never predicts the mask and
never touches a visible token (MDLM's SUBS, here true by construction), the negative ELBO in continuous time is (MDLM,
Sahoo et al. 2024, Eq. 10-11)

    NELBO(x) = E_{t ~ U(0,1)} E_{z_t ~ q(z_t | x)}  w(t)  sum over masked i of  -log p(x_i | z_t),

    w(t) = -alpha'_t / (1 - alpha_t),

which is 1/t for the linear schedule. Three estimators of it are here: one draw of t (`masked_nelbo`), T discrete steps
(`masked_nelbo_discrete`, a looser bound) and an exact number n of masks with weight L/n (`masked_nelbo_by_count`).
Lesson 08 derives them.

All return nats per token, shape (B, L), already weighted, zero where the token is visible: average over everything, or
sum over L for a sequence.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.objectives.fixed_rows import nll_in_fixed_rows
from difflm_core.objectives.vocabulary import nll_at
from difflm_core.processes import DiscreteProcess, time_of
from difflm_core.processes.schedules import check_times


def masked_nelbo(
    process: DiscreteProcess,
    denoiser: Denoiser,
    x: Int[Tensor, "B L"],
    t: Float[Tensor, "B"],
    generator: torch.Generator | None = None,
    fixed_rows: int | None = None,
) -> Float[Tensor, "B L"]:
    """One-sample estimate of the continuous-time bound (MDLM Eq. 11), one time t per row. An average over t ~ U(0, 1)
    is unbiased. `fixed_rows`: the same numbers from so many rows of logits, NaN if there are more masks
    (fixed_rows.py).
    """
    z_t = process.corrupt(x, t, generator)
    return weighted_cross_entropy(process, denoiser, x, z_t, t, bound_weight(process, t), fixed_rows)


def masked_nelbo_discrete(
    process: DiscreteProcess,
    denoiser: Denoiser,
    x: Int[Tensor, "B L"],
    t: Float[Tensor, "B"],
    T: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B L"]:
    """The bound of a chain with T steps (MDLM Eq. 8). t is rounded up to the grid 1/T, ..., 1, so that t ~ U(0, 1)
    picks each step equally often.

    The weight is T (alpha_s - alpha_t) / (1 - alpha_t) with s = t - 1/T: the sum over steps, estimated from one of
    them. It tends to `masked_nelbo`'s as T grows, with a gap of order 1/T, for a good denoiser from above: a chain that
    reveals many tokens at once pays for treating them as independent.
    """
    if T < 1:
        raise ValueError(f"A chain needs at least one step, got T = {T}.")
    check_times(t)
    step = (t * T).ceil().clamp(1, T)
    s, t = (step - 1) / T, step / T
    alpha_s, alpha_t = process.schedule.alpha(s), process.schedule.alpha(t)
    return weighted_cross_entropy(
        process, denoiser, x, process.corrupt(x, t, generator), t, T * (alpha_s - alpha_t) / (1 - alpha_t)
    )


def masked_nelbo_by_count(
    process: DiscreteProcess,
    denoiser: Denoiser,
    x: Int[Tensor, "B L"],
    t: Float[Tensor, "B"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B L"]:
    """The same bound with exactly n masked tokens, n uniform on 1..L, and weight L/n (Zheng et al. 2024, Prop. 3.1;
    LLaDA Eq. 6).

    Here t ~ U(0, 1) only picks n = ceil(t L). Sort L uniform numbers: the n smallest mark the masks, and the n-th
    smallest follows Beta(n, L - n + 1). That is the law of 1 - alpha given n masks when a moment counts with its weight
    in `masked_nelbo` (Zheng et al. Eq. 8), so it says which time a time-conditioned network is shown.
    """
    check_times(t)
    process.check_tokens(x)
    B, L = x.shape
    n = (t * L).ceil().clamp(1, L).long()  # (B,)
    u = torch.rand(B, L, generator=generator, device=x.device, dtype=torch.float64)
    level = u.sort(dim=1).values.gather(1, n[:, None] - 1)  # (B, 1), the n-th smallest
    z_n = torch.where(u <= level, process.mask_id, x)
    level = level[:, 0].to(t.dtype)
    return weighted_cross_entropy(process, denoiser, x, z_n, time_of(process.schedule, 1 - level), L / n.to(t.dtype))


def bound_weight(process: DiscreteProcess, t: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """-alpha'(t) / (1 - alpha_t): the weight of a mask's cross-entropy; infinite at t = 0, where nothing is masked."""
    return -process.schedule.dalpha(t) / (1 - process.schedule.alpha(t))


def weighted_cross_entropy(
    process, denoiser, x, z_t, t, weight: Float[Tensor, "B"], fixed_rows: int | None = None
) -> Float[Tensor, "B L"]:
    """weight times -log p(x | z_t) where z_t is masked, zero elsewhere. The denominator is the caller's: every token
    counts, visible ones too.
    """
    if process.has_uniform:
        raise ValueError(
            "The masked bound holds for masking only: this process also writes random tokens, whose cost it "
            "would leave out."
        )
    rows = z_t == process.mask_id
    if fixed_rows is not None:
        nll = nll_in_fixed_rows(denoiser, denoiser.hidden(z_t, t), rows, x, fixed_rows)  # (B, L)
        return nll * torch.where(rows, weight[:, None], 0).to(nll.dtype)  # a weight may be infinite where t = 0
    nll = nll_at(denoiser, denoiser.hidden(z_t, t), rows, x)  # (N,)
    loss = torch.zeros(x.shape, dtype=nll.dtype, device=x.device)
    loss[rows] = nll * weight.to(nll.dtype)[:, None].expand(x.shape)[rows]
    return loss
