"""The textbook sampler: walk the time grid from 1 to 0 and draw every step from the posterior with the network's
prediction plugged in.

It works for every discrete process, and for masking it draws from the same distribution as `sample_masked` with
`ancestral(T)`: slower, and here to show that. `reuse` is MDLM's cache: a network without a time input gives the same
answer for the same tokens, so a row that did not change needs no new call.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.processes import DiscreteProcess
from difflm_core.samplers.masked import start_canvas
from difflm_core.samplers.plans import check_steps
from difflm_core.samplers.sample import Sample, frame


@torch.no_grad()
def sample_discrete(
    process: DiscreteProcess,
    denoiser: Denoiser,
    T: int,
    shape: tuple[int, int],
    prompt: Int[Tensor, "B L"] | None = None,
    generator: torch.Generator | None = None,
    reuse: bool = False,
    record: bool = False,
    device=None,
) -> Sample:
    """T steps t = 1 -> 1 - 1/T -> ... -> 0 of z_s ~ q(z_s | z_t, x_hat(z_t, t)), the plug-in posterior. Tokens of
    `prompt` other than the mask stay.
    """
    check_steps(T)
    if process.V != denoiser.V:
        raise ValueError(f"The process has V = {process.V} clean tokens and the network {denoiser.V}: they must agree.")
    if reuse and getattr(denoiser, "uses_time", False):
        raise ValueError(
            "A time-conditioned network changes its answer with t, so its predictions cannot be reused between steps."
        )
    canvas = start_canvas(denoiser, shape, prompt, device)
    free = canvas == process.mask_id
    z = torch.where(free, process.prior(shape, generator, device), canvas)
    p, stale = None, torch.ones(shape[0], dtype=torch.bool, device=device)
    calls = torch.zeros(shape[0], dtype=torch.long, device=device)
    frames = [frame(z, torch.ones(shape[0], device=device), torch.zeros_like(free), calls=calls)] if record else None
    for step in range(T, 0, -1):
        t, s = (torch.full((shape[0],), i / T, device=device) for i in (step, step - 1))
        if bool(stale.any()):
            fresh = denoiser.logits(denoiser.hidden(z[stale], t[stale])).softmax(-1)
            p = fresh if p is None else p.masked_scatter(stale[:, None, None], fresh)
            calls += stale
        new = torch.where(free, process.step(z, p, s, t, generator), z)
        changed = new != z
        stale = changed.any(1) if reuse else torch.ones_like(stale)
        z = new
        if record:
            # A token of the mask's own id was not written but masked again: it has no probability among the V.
            written = changed & (z != process.mask_id)
            frames.append(frame(z, t, written, p[written], calls))
    return Sample(z, calls, frames)
