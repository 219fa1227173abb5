"""D3PM's bound on -log p(x): L_T + sum of L_{t-1} + L_0, and the hybrid loss (Austin et al. 2021, Eqs. 1 and 5).

    L_T     = KL(q(z_T | x) || p(z_T))                                  what the noise still knows; nothing to learn
    L_{t-1} = E_{z_t} KL(q(z_{t-1} | z_t, x) || p(z_{t-1} | z_t))       one reverse step, t = T, ..., 2
    L_0     = E_{z_1} -log p(x | z_1)                                   the last step, back to the data

The process is a `MatrixProcess`, or any `DiscreteProcess` (closed forms, no matrix). A smaller T gives the bound of
fewer, longer steps; for a `MatrixProcess` T must divide its own number of steps (the paper's k-step evaluation,
process.T = k T).

For masks only, this is `masked_nelbo_discrete`. For other noise mind what is learned (`gidd.py` and `LeaveOneOut` in
models): the bound has its minimum where the network answers p(x_i | z_t without z_i), the cross-entropy of the hybrid
loss where it answers p(x_i | z_t). At a mask both are the same, so the second helps the first; under uniform noise
they pull apart.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.objectives.d3pm_terms import prior_kl, reverse_kl
from difflm_core.objectives.vocabulary import nll_at
from difflm_core.processes.schedules import check_times


@dataclass(frozen=True)
class BoundParts:
    """`prior` is L_T, (B, L). `steps` (T, B, L): steps[0] is L_0, steps[i] the step from (i + 1)/T. Nats per token."""

    prior: Float[Tensor, "B L"]
    steps: Float[Tensor, "T B L"]

    @property
    def nelbo(self) -> Float[Tensor, "B L"]:
        return self.prior + self.steps.sum(0)


def d3pm_nelbo(
    process, denoiser: Denoiser, x: Int[Tensor, "B L"], t: Float[Tensor, "B"], T: int | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B L"]:  # fmt: skip
    """One-sample estimate: L_T + T times the term of one step, the one that t ~ U(0, 1) falls into.

    T is by default the process's own. Nats per token.
    """
    T = chain_length(process, denoiser, T)
    s, t, shown = grid_step(t, T)
    z_t = process.corrupt(x, t, generator)
    term = reverse_kl(process, denoiser, denoiser.hidden(z_t, shown), x, z_t, s, t)
    return (prior_kl(process, x) + T * term).to(term.dtype)


def d3pm_hybrid_loss(
    process, denoiser: Denoiser, x: Int[Tensor, "B L"], t: Float[Tensor, "B"], lam: float, T: int | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B L"]:  # fmt: skip
    """`d3pm_nelbo` + lam times -log p(x | z_t), visible tokens too, added to the term of *every* step (Eq. 5).

    So lam counts against a single L_t, as in the paper's code (one random t, no factor T): against the bound, a sum
    of T terms, the cross-entropy has the weight lam T, 10 for the paper's lam = 0.01 and T = 1000. For training;
    report `d3pm_nelbo`.
    """
    if not lam >= 0:
        raise ValueError(f"lam weighs a loss and must be at least 0, got {lam}.")
    T = chain_length(process, denoiser, T)
    s, t, shown = grid_step(t, T)
    z_t = process.corrupt(x, t, generator)
    h = denoiser.hidden(z_t, shown)
    term = reverse_kl(process, denoiser, h, x, z_t, s, t)
    cross_entropy = nll_at(denoiser, h, torch.ones_like(x, dtype=torch.bool), x).view(x.shape)
    return (prior_kl(process, x) + T * (term + lam * cross_entropy)).to(term.dtype)


@torch.no_grad()
def d3pm_parts(
    process, denoiser: Denoiser, x: Int[Tensor, "B L"], T: int | None = None, generator: torch.Generator | None = None
) -> BoundParts:
    """Every part of the bound, with one draw of z_t for each of the T steps: T network calls, and no chance in t."""
    T, terms = chain_length(process, denoiser, T), []
    for i in range(1, T + 1):
        s, t, shown = grid_step(torch.full((len(x),), (i - 0.5) / T, device=x.device), T)
        z_t = process.corrupt(x, t, generator)
        terms.append(reverse_kl(process, denoiser, denoiser.hidden(z_t, shown), x, z_t, s, t))
    return BoundParts(prior_kl(process, x).to(terms[0].dtype), torch.stack(terms))


def grid_step(t: Float[Tensor, "B"], T: int) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"], Float[Tensor, "B"]]:
    """(s, t, t as the network sees it): the step of the grid that t lies in.

    s and t are float64, in which differences of neighbouring alphas keep their digits; the network gets the dtype it
    gave.
    """
    check_times(t)
    step = (t.double() * T).ceil().clamp(1, T)
    return (step - 1) / T, step / T, (step / T).to(t.dtype)


def chain_length(process, denoiser: Denoiser, T: int | None) -> int:
    """T, or the process's own number of steps. Refuses a denoiser of another vocabulary."""
    if denoiser.V != process.V:
        raise ValueError(f"The denoiser predicts {denoiser.V} tokens but the process has {process.V}: build both for "
                         "the same vocabulary.")
    if T is None:
        T = getattr(process, "T", None) or getattr(process.schedule, "T", None)
    if T is None or T < 1:
        raise ValueError("This process runs in continuous time: say how many steps T >= 1 its chain has.")
    return T
