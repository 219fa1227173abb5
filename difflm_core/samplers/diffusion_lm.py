"""Texts from Diffusion-LM: noise becomes vectors (`sample_gaussian`), vectors are rounded to words.

Two habits of the paper (Li et al. 2022, section 4.2 and 5) are hooks of that sampler. Clamping: before a step the
predicted vectors are replaced by the nearest embeddings, so that the network commits to words. Infilling: known words
are held at their noisy embeddings at every step.
"""

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

from difflm_core.models.diffusion_lm import DiffusionLM
from difflm_core.samplers.gaussian import sample_gaussian, subset
from difflm_core.samplers.masked import start_canvas
from difflm_core.samplers.sample import Frame, Sample, frame


@torch.no_grad()
def sample_diffusion_lm(
    model: DiffusionLM,
    T: int,
    shape: tuple[int, int],
    prompt: Int[Tensor, "B L"] | None = None,
    clamp_from: float | None = None,
    generator: torch.Generator | None = None,
    eta: float = 1.0,
    steps: int | None = None,
    guide: Callable | None = None,
    record: bool = False,
    device=None,
) -> Sample:
    """Texts of shape (B, L): T steps t = 1 -> 1 - 1/T -> ... -> 0, one network call each, then the likeliest words.

    `prompt` is a canvas with V where text is wanted; all its other words stay. `clamp_from`: at t <= clamp_from x_hat
    becomes the nearest embedding (1: always, None: never). `steps` takes that many of the T steps, evenly spread, and
    skips the rest. `eta` = 1 is ancestral, 0 DDIM; `guide(z_s, z_t, x_hat, s, t) -> z_s` steers. Raises ValueError for
    more steps than T, a canvas longer than the model's and words that it does not know.
    """
    canvas = start_canvas(model, shape, prompt, device)
    free = canvas == model.V
    keep = None if prompt is None else (~free, model.start(canvas.masked_fill(free, 0), generator))
    clamp = None if clamp_from is None else clamping(model, clamp_from)
    drawn = sample_gaussian(
        model.process,
        model.x_hat,
        T,
        (*shape, model.D),
        generator,
        eta,
        times=None if steps is None else subset(T, steps),
        guide=guide,
        clamp=clamp,
        keep=keep,
        self_condition=model.self_conditioning,
        record=record,
        device=device,
        dtype=model.embedding.dtype,
    )
    tokens = torch.where(free, model.round(drawn.x), canvas)
    return Sample(tokens, drawn.network_calls, read(model, drawn.trajectory, canvas) if record else None)


def clamping(model: DiffusionLM, clamp_from: float) -> Callable:
    """x_hat -> the nearest embedding at t <= clamp_from."""
    if not 0 < clamp_from <= 1:
        raise ValueError(f"clamp_from is the time from which on to clamp, in (0, 1] (or None), got {clamp_from}.")

    def clamp(x_hat: Tensor, t: Tensor) -> Tensor:
        return model.nearest(x_hat) if float(t[0]) <= clamp_from else x_hat

    return clamp


def read(model: DiffusionLM, vectors: list, canvas: Int[Tensor, "B L"]) -> list[Frame]:
    """Each moment as the words that x_hat rounds to, with their probability and entropy. The first frame is the empty
    canvas; `written` is where a word changed.
    """
    free = canvas == model.V
    calls = torch.zeros(len(canvas), dtype=torch.long, device=canvas.device)
    frames = [frame(canvas, torch.ones(len(canvas), device=canvas.device), torch.zeros_like(free), calls=calls)]
    for moment in vectors[:-1]:
        calls += 1
        p = model.logits(moment.x_hat).softmax(-1)
        tokens = torch.where(free, p.argmax(-1), canvas)
        written = tokens != frames[-1].tokens
        time = torch.full((len(tokens),), moment.time, device=tokens.device)
        frames.append(frame(tokens, time, written, p[written], calls))
    return frames
