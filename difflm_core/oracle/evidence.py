"""What one noisy position says about the clean word under it: log q(z_i | x_i = v), for every v.

All processes of the course corrupt each position by itself, so this (B, L, V) table is all that an exact posterior
needs to know of the noise:

    p(x | z_t)  proportional to  p(x) * product_i q(z_i | x_i).

Only differences along v matter (a factor that is the same for all words cancels), so tables are given up to a constant
per position.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.oracle.checks import check_ids


def log_evidence(z_t: Tensor, t: Tensor | None, process, V: int) -> Float[Tensor, "B L V"]:
    """log q(z_i | x_i = v) up to a constant per position, float64, for anything that can corrupt a word.

    `process` may have `.log_evidence(z_t, t)`, or `.evidence(z_t, t)` (probabilities), or `.masses(t)` as every
    DiscreteProcess has. Raises ValueError if its vocabulary is not V or if z_t or t has a wrong shape or range.
    """
    if process.V != V:
        raise ValueError(f"The process has {process.V} words but the language has {V}; build the process with V={V}.")
    check_times(t, len(z_t))
    if hasattr(process, "log_evidence"):
        return process.log_evidence(z_t, t)
    if hasattr(process, "evidence"):
        return process.evidence(z_t, t).double().log()
    return evidence_from_masses(z_t, t, process).log()


def check_times(t: Tensor | None, B: int) -> None:
    """ValueError unless t is None or (B,); times in [0, 1] if they are not whole steps."""
    if t is None:
        return
    if t.shape != (B,):
        raise ValueError(f"t has shape {tuple(t.shape)} but must be ({B},): one time per row of z_t.")
    if t.is_floating_point() and not ((t >= 0) & (t <= 1)).all():
        raise ValueError("t has a value outside [0, 1]; 0 is clean data and 1 is pure noise.")


def evidence_from_masses(z_t: Int[Tensor, "B L"], t: Tensor | None, process) -> Float[Tensor, "B L V"]:
    """alpha [z = v] + uniform_mass / V at a visible word, the same for every v at a mask.

    A row without uniform mass is pure masking: a visible word is then certain and t drops out, so t = None is allowed,
    and so is a prompt in plain sight at t = 1.
    """
    V = process.V
    z_t = check_ids(z_t, V + 1, "z_t")
    alpha, _, uniform = process.masses(torch.full((len(z_t),), 0.5).double() if t is None else t.cpu().double())
    if t is None and (uniform > 0).any():
        raise ValueError("t is None, but this process also writes random words, and they depend on t: give t (B,).")
    kept = torch.where(uniform == 0, 1.0, alpha)
    evidence = (uniform / V)[:, None, None].expand(*z_t.shape, V).clone()
    evidence.scatter_add_(2, z_t.clamp(max=V - 1)[..., None], kept[:, None, None].expand(*z_t.shape, 1))
    return evidence.masked_fill_((z_t == V)[..., None], 1.0)  # a mask fits every word equally


class MatrixEvidence:
    """D3PM: q(z | v) = cumulative[k - 1][v, z] after k steps (Austin et al. 2021, Eq. 3).

    `cumulative` (T, K, K) holds the row-stochastic products Q_1 ... Q_k; K is V, or V + 1 where the last is the mask.
    Times are whole steps 0..T (0 is clean), or fractions k / T in [0, 1].
    """

    def __init__(self, cumulative: Float[Tensor, "T K K"], V: int):
        if cumulative.ndim != 3 or cumulative.shape[1:] not in ((V, V), (V + 1, V + 1)):
            raise ValueError(f"cumulative has shape {tuple(cumulative.shape)} but must be (T, K, K) with "
                             f"K = {V}, or K = {V + 1} with a mask.")
        clean = torch.eye(cumulative.shape[1], dtype=torch.float64)[None]
        # Stored as [step, noisy symbol, clean word], so that a lookup by what is seen gives a row over v.
        self.by_seen = torch.cat([clean, cumulative.double()]).transpose(1, 2)[..., :V].contiguous()
        self.V, self.T, self.K = V, len(cumulative), cumulative.shape[1]

    def evidence(self, z_t: Int[Tensor, "B L"], t: Tensor) -> Float[Tensor, "B L V"]:
        if t is None:
            raise ValueError("t is None, but transition matrices differ from step to step; give t (B,).")
        step = (t * self.T).round().long() if t.is_floating_point() else t.long()
        if ((step < 0) | (step > self.T)).any():
            raise ValueError(f"A step lies outside [0, {self.T}], the steps that these matrices describe.")
        return self.by_seen[step[:, None].cpu(), check_ids(z_t, self.K, "z_t")]


class EmbeddingEvidence:
    """Gaussian noise on embeddings: z = sqrt(alpha_t) e_v + sqrt(1 - alpha_t) noise, so q(z | v) is a normal density.

    `embeddings` (V, D) has one vector per word; `schedule.alpha(t)` is the squared signal level. z_t is (B, L, D).
    """

    def __init__(self, embeddings: Float[Tensor, "V D"], schedule):
        self.embeddings, self.schedule, self.V = embeddings.detach().double().cpu(), schedule, len(embeddings)

    def log_evidence(self, z_t: Float[Tensor, "B L D"], t: Float[Tensor, "B"]) -> Float[Tensor, "B L V"]:
        D = self.embeddings.shape[1]
        if z_t.ndim != 3 or z_t.shape[2] != D:
            raise ValueError(f"z_t has shape {tuple(z_t.shape)} but must be (B, L, {D}): one vector per position.")
        if not torch.isfinite(z_t).all():
            raise ValueError("z_t has a NaN or infinite entry, which no noise produces; look at what made it.")
        alpha = None if t is None else self.schedule.alpha(t.cpu().double())[:, None, None]
        if alpha is None or (alpha >= 1).any():
            raise ValueError("Gaussian evidence needs t (B,) with alpha_t < 1: without noise the word is simply known.")
        # -|z - sqrt(alpha) e|^2 / 2 (1 - alpha), less the |z|^2 that is the same for every word.
        fit = z_t.double().cpu() @ self.embeddings.T * alpha.sqrt() - alpha * self.embeddings.square().sum(-1) / 2
        return fit / (1 - alpha)
