"""The masked positions in a fixed number of rows: for GPUs, where asking how many masks there are is a wait.

`h[masked]` has as many rows as there are masks. The CPU must know that number before it can go on, so at every step it
waits until the GPU has computed it; and a compiler, to which the shape is unknown, cuts its graph there. Here R
positions are taken whatever is masked: the masked ones first, in order, then visible ones to fill up, whose
cross-entropy counts for nothing. Loss and gradients are those of `vocabulary.nll_at`.

R can be chosen beforehand, since with stratified times the number N of masks is nearly the same in every batch. Take b
rows of length L out of a batch of B rows, one time in each of B equal slices of [0, 1], and let m = 1 - alpha. Then

    E N   = b L E[m]
    Var N = b L E[m (1 - m)] + L^2 b (W + S (B - b) / (B - 1)),

with W the variance of m within a slice, averaged over slices, and S the variance of the slices' means. A whole batch
has no S: for 32 rows of 1,024 and the linear schedule, N is 16,384 with standard deviation 91, and R = 16,928 (six of
them more) is 0.517 of all positions.

More masks than R: by the normal law about once in 10^9 batches. The loss is then NaN, never a wrong number, and whoever
reads it can compute the batch again in the usual way, as training does (training/fixed_rows.py).
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.objectives.vocabulary import nll_in_pieces
from difflm_core.processes import Schedule

DEVIATIONS = 6.0
POINTS = 64  # of the quadrature, in each slice


def nll_in_fixed_rows(
    denoiser: Denoiser, h: Float[Tensor, "B L D"], rows: Bool[Tensor, "B L"], x: Int[Tensor, "B L"], R: int
) -> Float[Tensor, "B L"]:
    """-log p(x) in nats where `rows` is true, zero elsewhere, from R rows of logits; NaN if more than R are true."""
    wanted = rows.flatten()
    place = (~wanted).byte().argsort(stable=True)[:R]  # (R,), those that are wanted first
    nll = nll_in_pieces(denoiser, h.flatten(0, 1).index_select(0, place), x.flatten()[place])
    nll = torch.where(wanted[place], nll, 0)
    nll = torch.where(wanted.sum() > R, math.nan, nll)
    return torch.zeros(wanted.shape, dtype=nll.dtype, device=nll.device).scatter(0, place, nll).view(x.shape)


def rows_for(schedule: Schedule, b: int, L: int, B: int) -> int:
    """R: enough rows for the masks of b rows of length L, of a batch of B with stratified times."""
    mean, deviation = number_of_masks(schedule, b, L, B)
    return max(1, min(b * L, math.ceil(mean + DEVIATIONS * deviation)))


@lru_cache(maxsize=4096)  # LLaDA's short batches have many lengths
def number_of_masks(schedule: Schedule, b: int, L: int, B: int) -> tuple[float, float]:
    """(mean, standard deviation) of the number of masked positions: the formula above."""
    t = (torch.arange(B * POINTS, dtype=torch.float64, device="cpu") + 0.5) / (B * POINTS)
    m = (1 - schedule.alpha(t)).view(B, POINTS)
    coins = b * L * (m * (1 - m)).mean()
    times = L**2 * b * (m.var(1, correction=0).mean() + m.mean(1).var(correction=0) * (B - b) / max(1, B - 1))
    return b * L * m.mean().item(), math.sqrt(coins + times)
