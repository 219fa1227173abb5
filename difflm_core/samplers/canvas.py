"""The text while it is being revised: write tokens, take tokens back, and remember how sure the network was of each."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.samplers.sample import Frame, frame


@dataclass
class Canvas:
    """The text so far: tokens, which positions may change (no prompt), the probability each was written with, calls
    per row, frames or None.
    """

    z: Int[Tensor, "B L"]
    mask_id: int
    free: Bool[Tensor, "B L"]
    written: Float[Tensor, "B L"]
    calls: Int[Tensor, "B"]
    frames: list[Frame] | None


def new_canvas(z: Int[Tensor, "B L"], mask_id: int, record: bool) -> Canvas:
    written = torch.full(z.shape, torch.nan, dtype=torch.float64, device=z.device)
    calls = torch.zeros(len(z), dtype=torch.long, device=z.device)
    canvas = Canvas(z, mask_id, z == mask_id, written, calls, [] if record else None)
    note(canvas, 1.0, torch.zeros_like(canvas.free), None)
    return canvas


def write(canvas: Canvas, where: Bool[Tensor, "B L"], token: Int[Tensor, "N"], p: Float[Tensor, "N V"] | None) -> None:
    canvas.z = canvas.z.masked_scatter(where, token)
    if p is not None:
        probability = p.gather(1, token[:, None])[:, 0].double()
        canvas.written = canvas.written.masked_scatter(where, probability)


def take_back(canvas: Canvas, where: Bool[Tensor, "B L"]) -> None:
    canvas.z = canvas.z.masked_fill(where, canvas.mask_id)
    canvas.written = canvas.written.masked_fill(where, torch.nan)


def note(canvas: Canvas, time: float, where: Bool[Tensor, "B L"], p: Float[Tensor, "N V"] | None) -> None:
    if canvas.frames is not None:
        t = torch.full((len(canvas.z),), time, device=canvas.z.device)
        canvas.frames.append(frame(canvas.z, t, where, p, canvas.calls))
