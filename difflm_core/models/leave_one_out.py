"""What the other positions say of a token: a denoiser with the evidence of its own position divided out.

    p(x_i | z without z_i)  proportional to  p(x_i | z_t) / q_t(z_i | x_i).

GIDD's and UDLM's formulas bring q_t(z_i | x_i) in by themselves, so this, not p(x_i | z_t), is what a network learns
from their losses, and what the plug-in posterior needs to be exact. At a mask both agree, since a mask fits every token
equally.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.processes import DiscreteProcess
from difflm_core.processes.discrete import inside


def leave_one_out(
    logits: Float[Tensor, "B L V"], process: DiscreteProcess, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"]
) -> Float[Tensor, "B L V"]:
    """Logits of p(x_i | z without z_i) from logits of p(x_i | z_t). Without random tokens a visible token is certain,
    and the logits stay as they are. A D3PM chain of matrices says itself what z_t is evidence of (`evidence`).
    """
    if hasattr(process, "evidence"):
        evidence = process.evidence(z_t, t)  # (B, L, V)
        return torch.where(evidence > 0, logits - evidence.log(), logits)
    if not process.has_uniform:
        return logits
    return add_own_evidence(logits, process, z_t, t, -1)


def with_own_evidence(
    logits: Float[Tensor, "B L V"], process: DiscreteProcess, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"]
) -> Float[Tensor, "B L V"]:
    """The way back, for processes with random tokens: logits of p(x_i | z_t) from those of p(x_i | z without z_i)."""
    return add_own_evidence(logits, process, z_t, t, 1)


def add_own_evidence(logits, process: DiscreteProcess, z_t, t, sign: int) -> Float[Tensor, "B L V"]:
    """Add sign times log q_t(z_i | x_i), up to a constant: it differs at the token that is seen; masks say nothing."""
    alpha, _, uniform_mass = process.masses(inside(t))
    gain = torch.log1p(alpha * process.V / uniform_mass)  # log q(z | z) - log q(z | v) for v != z
    gain = torch.where(z_t == process.mask_id, 0, gain[:, None]).to(logits.dtype)  # (B, L)
    own = z_t.clamp_max(process.V - 1)[..., None]
    return logits.scatter_add(-1, own, sign * gain[..., None])


class LeaveOneOut:
    """A `Denoiser` around another one that answers p(x_i | z_t), such as a language's exact one. Its `hidden` are full
    logits (B, L, V).
    """

    def __init__(self, denoiser, process: DiscreteProcess):
        if denoiser.V != process.V:
            raise ValueError(f"The denoiser predicts {denoiser.V} tokens but the process has {process.V}.")
        self.denoiser, self.process, self.V = denoiser, process, denoiser.V

    def hidden(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"]) -> Float[Tensor, "B L V"]:
        return leave_one_out(self.denoiser.logits(self.denoiser.hidden(z_t, t)), self.process, z_t, t)

    def logits(self, h: Float[Tensor, "*N V"]) -> Float[Tensor, "*N V"]:
        return h

    def __call__(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"]) -> Float[Tensor, "B L V"]:
        return self.logits(self.hidden(z_t, t))


class WithOwnEvidence(LeaveOneOut):
    """The way back: a `Denoiser` of p(x_i | z_t) around one that says what the other positions say."""

    def hidden(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"]) -> Float[Tensor, "B L V"]:
        return with_own_evidence(self.denoiser.logits(self.denoiser.hidden(z_t, t)), self.process, z_t, t)
