"""A sampler that revises: walk from t = 1 to 0, reveal tokens, and take some back (ReMDM, Star, G-Star).

A masked sampler never changes what it has written, so early mistakes stay. Here a rule says how much is masked again
in each step: with a probability (`remdm_posterior`), or, when the rule has a guide, as an exact number of positions
chosen by their score (guided.py).

The clock is a fixed grid of T steps. A row calls the network only in steps in which it reveals something, which
changes nothing in what is drawn. In the last step alpha_s is 1: no rule can leave a mask. What is still masked then
is drawn like everything else (the authors' code takes the argmax of these last tokens, which is a lower temperature
for them).
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.processes import Linear, Schedule
from difflm_core.samplers.canvas import Canvas, new_canvas, note, take_back, write
from difflm_core.samplers.categorical import draw_from, probabilities
from difflm_core.samplers.guided import check_predictor, gumbel_top_k, remask_count
from difflm_core.samplers.masked import start_canvas
from difflm_core.samplers.plans import check_steps
from difflm_core.samplers.remask_rules import Guide, Moment, Rule
from difflm_core.samplers.remdm_posterior import remdm_posterior
from difflm_core.samplers.sample import Sample

Predict = Callable[[Canvas, Bool[Tensor, "B L"], float], tuple[Int[Tensor, "N"], Float[Tensor, "N V"] | None]]


@torch.no_grad()
def sample_remasking(
    denoiser: Denoiser,
    rule: Rule,
    T: int,
    shape: tuple[int, int],
    prompt: Int[Tensor, "B L"] | None = None,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    schedule: Schedule | None = None,
    record: bool = False,
    device=None,
) -> Sample:
    """Fill a canvas (B, L) in T steps t = 1, (T-1)/T, ..., 1/T, taking tokens back by the rule. The default schedule
    is linear.

    `prompt` as in `sample_masked`: its tokens (and padding, which belongs there) are never remasked. `network_calls`
    counts, per row, passes of the denoiser *and* of the rule's error predictor; `calls_needed` bounds it beforehand.
    With `record`, a guided step leaves two frames: the complete draft, and what remains of it. Raises ValueError for
    sigma above its bound or a predictor of another vocabulary.
    """
    check_steps(T)
    check_predictor(rule, denoiser, shape)
    canvas = new_canvas(start_canvas(denoiser, shape, prompt, device), denoiser.V, record)
    predict = partial(draw_tokens, denoiser, temperature, top_p, generator)
    schedule = schedule or Linear()
    clock = rule.clock(schedule)
    for step in range(T, 0, -1):
        now = moment(clock, schedule, step, T, canvas.written)
        if rule.guide is not None and rule.during(now.t):
            guided_step(canvas, rule.guide, now, predict, generator)
        else:
            sigma_step(canvas, rule.sigma(now) if rule.during(now.t) else 0.0, now, predict, generator)
    return Sample(canvas.z, canvas.calls, canvas.frames)


def sigma_step(canvas: Canvas, sigma, now: Moment, predict: Predict, generator: torch.Generator | None) -> None:
    """Every visible token tosses a coin to stay, every masked one to be revealed (ReMDM Eq. 6)."""
    moves = remdm_posterior(now.alpha_t, now.alpha_s, sigma)
    u = torch.rand(canvas.z.shape, generator=generator, device=canvas.z.device, dtype=torch.float64)
    masked = canvas.z == canvas.mask_id
    revealed = masked & (u < moves.reveal)
    remasked = canvas.free & ~masked & (u >= moves.keep)
    token, p = predict(canvas, revealed, now.time)  # before anything is taken back: the network may still see it
    take_back(canvas, remasked)
    write(canvas, revealed, token, p)
    note(canvas, now.time, revealed, p)


def guided_step(canvas: Canvas, guide: Guide, now: Moment, predict: Predict, generator: torch.Generator | None) -> None:
    """Draft everything, score everything, take back exactly N_s positions per row."""
    free = canvas.free.sum(1)
    count = remask_count(now.alpha_s, free)  # (B,)
    something_stays = count < free  # in the other rows everything goes, whatever the draft would be: no call
    drafted = (canvas.z == canvas.mask_id) & something_stays[:, None]
    token, p = predict(canvas, drafted, now.time)
    write(canvas, drafted, token, p)
    note(canvas, now.time, drafted, p)

    scored = something_stays & (count > 0)
    score = torch.zeros_like(canvas.written)
    if bool(scored.any()):
        score[scored] = guide.score(canvas.z[scored], canvas.written[scored]).to(score.dtype)
        canvas.calls += scored if guide.network is not None else 0
    if bool((count > 0).any()):
        take_back(canvas, gumbel_top_k(score, count, guide.temperature, canvas.free, generator))
        note(canvas, now.time, torch.zeros_like(drafted), None)


def moment(clock: Callable[[float], float], schedule: Schedule, step: int, T: int, written) -> Moment:
    """The step from t = step/T to s = (step-1)/T by the rule's clock. The last one ends at alpha_s = 1 even where the
    schedule does not (Sqrt).
    """
    t, s = step / T, (step - 1) / T
    time, earlier = clock(t), clock(s)
    alpha_t, alpha_s = schedule.alpha(torch.tensor([time, earlier], dtype=torch.float64)).clamp(0, 1)
    return Moment(t, s, time, alpha_t, alpha_s if step > 1 else torch.ones_like(alpha_s), written)


def draw_tokens(
    denoiser: Denoiser,
    temperature: float,
    top_p: float,
    generator,
    canvas: Canvas,
    wanted: Bool[Tensor, "B L"],
    time: float,
):
    """A token for each of the N wanted positions and the distributions (N, V) that they come from. Only rows with
    such a position are shown to the network.
    """
    rows = wanted.any(1)
    canvas.calls += rows
    if not bool(rows.any()):
        return torch.empty(0, dtype=torch.long, device=canvas.z.device), None
    h = denoiser.hidden(canvas.z[rows], torch.full((int(rows.sum()),), time, device=canvas.z.device))
    p = probabilities(denoiser.logits(h[wanted[rows]]), temperature, top_p)
    return draw_from(p, generator), p
