"""One sampler for all masked diffusion: follow a plan, call the network only when something is revealed, and look at
the vocabulary only where.

Ancestral sampling, MDLM's cached sampler, first-hitting, confidence decoding, blocks and left-to-right are this loop
with different plans.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.samplers.categorical import draw_from, probabilities
from difflm_core.samplers.plans import Plan
from difflm_core.samplers.sample import Frame, Sample, frame


@torch.no_grad()
def sample_masked(
    denoiser: Denoiser,
    plan: Plan,
    shape: tuple[int, int],
    prompt: Int[Tensor, "B L"] | None = None,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    record: bool = False,
    device=None,
) -> Sample:
    """Fill a canvas of shape (B, L) with tokens, following the plan.

    `prompt`, if given, is a canvas of that shape in which every token other than the mask (id V) is kept untouched: a
    beginning, an end, or any pattern. Plans that choose by confidence judge a drawn token by the model's own
    probability, before `temperature` and `top_p` (as LLaDA does): at temperature 0 the distribution drawn from is
    certain everywhere and could not tell one position from another. Each row goes through its own steps: in every pass
    of the loop each unfinished row makes its next non-empty step. `network_calls` counts, per row, the passes it was
    part of.
    """
    z = start_canvas(denoiser, shape, prompt, device)
    masked = z == denoiser.V
    plan_now = plan.arrange(masked, generator)
    order = plan_now.group.masked_fill(~masked, torch.iinfo(torch.long).max).argsort(dim=1, stable=True)
    group, time, window = (
        part.gather(1, order) for part in (plan_now.group, plan_now.time, plan_now.window)
    )  # in order of revelation
    revealed, total = torch.zeros(len(z), dtype=torch.long, device=z.device), masked.sum(1)
    calls = torch.zeros_like(revealed)
    frames = [frame(z, torch.ones(len(z), device=z.device), torch.zeros_like(masked), calls=calls)] if record else None

    while bool((live := revealed < total).any()):
        now = revealed.clamp_max(shape[1] - 1)[:, None]
        here = live[:, None] & (z == denoiser.V) & (plan_now.window == window.gather(1, now))
        planned = here & (plan_now.group == group.gather(1, now))
        t = time.gather(1, now)[:, 0]
        candidates = planned if plan.select is None else here

        rows = live.nonzero()[:, 0]
        h = denoiser.hidden(z[rows], t[rows])  # only rows that still have something to do
        logits = denoiser.logits(h[candidates[rows]])  # (N, V), only the candidates
        p = probabilities(logits, temperature, top_p)
        token = draw_from(p, generator)
        if plan.select is not None:
            belief = p if temperature == top_p == 1 else probabilities(logits)
            chosen = plan.select(confidence_canvas(belief, token, candidates), planned_count(group, now, total))
            keep = chosen[candidates]
            planned, token, p = chosen, token[keep], p[keep]

        z = z.masked_scatter(planned, token)
        revealed += planned.sum(1)
        calls += live
        if record:
            frames.append(frame(z, t, planned, p, calls))
    return Sample(z, calls, frames)


def start_canvas(
    denoiser: Denoiser, shape: tuple[int, int], prompt: Int[Tensor, "B L"] | None, device
) -> Int[Tensor, "B L"]:
    """All masks, or a copy of the prompt."""
    longest = getattr(denoiser, "length", None)
    if longest is not None and shape[1] > longest:
        raise ValueError(
            f"A canvas of {shape[1]} positions is longer than the {longest} that this model was built for."
        )
    if prompt is None:
        return torch.full(shape, denoiser.V, dtype=torch.long, device=device)
    if prompt.ndim != 2 or prompt.shape[1] > shape[1]:
        raise ValueError(f"The prompt, shaped {tuple(prompt.shape)}, does not fit on a canvas of shape {tuple(shape)}.")
    if tuple(prompt.shape) != tuple(shape):
        raise ValueError(
            f"The prompt is a whole canvas of shape {tuple(shape)} with mask tokens (id {denoiser.V}) where text "
            f"is wanted, got {tuple(prompt.shape)}: see `prompt_canvas`."
        )
    if not 0 <= int(prompt.min()) <= int(prompt.max()) <= denoiser.V:
        raise ValueError(f"Prompt ids must lie in 0..{denoiser.V}, got {int(prompt.min())}..{int(prompt.max())}.")
    return prompt.clone()


def prompt_canvas(prefix: Int[Tensor, "P"], shape: tuple[int, int], mask_id: int) -> Int[Tensor, "B L"]:
    """A canvas that begins with `prefix` in every row and is masked after it."""
    if len(prefix) > shape[1]:
        raise ValueError(
            f"A prompt of {len(prefix)} tokens is longer than the canvas of {shape[1]}: shorten it or take a "
            "longer canvas."
        )
    canvas = torch.full(shape, mask_id, dtype=torch.long, device=prefix.device)
    canvas[:, : len(prefix)] = prefix
    return canvas


def confidence_canvas(p, token, candidates):
    """The probability p of each drawn token, on the canvas; -inf where there is no candidate."""
    confidence = torch.full(candidates.shape, -torch.inf, dtype=p.dtype, device=p.device)
    confidence[candidates] = p.gather(1, token[:, None])[:, 0]
    return confidence


def planned_count(group, now, total):
    """How many positions the current group has: they sit in the row's ordered list from `now` on."""
    index = torch.arange(group.shape[1], device=group.device)
    return ((group == group.gather(1, now)) & (index >= now) & (index < total[:, None])).sum(1)


@torch.no_grad()
def sample_sliding(
    denoiser: Denoiser,
    plan: Plan,
    shape: tuple[int, int],
    new: int,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Sample:
    """Texts longer than the canvas: keep the last tokens as a fixed prefix and generate `new` more, again and again
    (MDLM section 4.2, semi-autoregressive).

    `denoiser.length` is the canvas; shape = (B, total length). The last window may generate fewer than `new` tokens.
    """
    B, total = shape
    canvas = min(denoiser.length, total)
    if not 1 <= new < denoiser.length:
        raise ValueError(
            f"Each window must generate between 1 and {denoiser.length - 1} new tokens (the rest is its prefix), "
            f"got {new}."
        )
    out = sample_masked(denoiser, plan, (B, canvas), generator=generator, temperature=temperature, top_p=top_p)
    text, calls = out.tokens, out.network_calls
    while text.shape[1] < total:
        fresh = min(new, total - text.shape[1])
        masks = torch.full((B, fresh), denoiser.V, dtype=torch.long, device=text.device)
        prompt = torch.cat([text[:, text.shape[1] - (canvas - fresh) :], masks], dim=1)
        out = sample_masked(denoiser, plan, (B, canvas), prompt, generator, temperature, top_p)
        text, calls = torch.cat([text, out.tokens[:, -fresh:]], dim=1), calls + out.network_calls
    return Sample(text, calls)


__all__ = ["Frame", "Sample", "prompt_canvas", "sample_masked", "sample_sliding"]
