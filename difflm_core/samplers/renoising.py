"""The entropy-bound sampler with renewed noise: accept what is certain enough, put fresh noise everywhere else.

In masked diffusion the noise that is renewed is the mask, and this is `sample_in_order` with the rule `entropy_bound`:
a token, once accepted, stays. In uniform diffusion all positions hold random tokens, nothing marks the accepted ones,
and in every call the network judges each position anew: an accepted token can be taken back. That is the sampler of
DiffusionGemma (released in `transformers`), which also cools down towards the end and stops when its favourite text no
longer changes.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models import Denoiser
from difflm_core.processes import DiscreteProcess, time_of
from difflm_core.samplers.categorical import draw_from, probabilities
from difflm_core.samplers.masked import start_canvas
from difflm_core.samplers.parallel import check_bound, within_bound
from difflm_core.samplers.plans import check_steps
from difflm_core.samplers.sample import Sample, frame


@torch.no_grad()
def sample_entropy_bound(
    process: DiscreteProcess,
    denoiser: Denoiser,
    shape: tuple[int, int],
    bound: float = 0.1,
    steps: int = 48,
    prompt: Int[Tensor, "B L"] | None = None,
    generator: torch.Generator | None = None,
    temperatures: tuple[float, float] = (1.0, 1.0),
    confident: float = 0.0,
    record: bool = False,
    device=None,
) -> Sample:
    """At most `steps` calls. Each draws a token for every position, accepts those of lowest entropy within `bound` nats
    (see `parallel.entropy_bound`), and renews the noise of all others from the process at t = 1.

    The temperature falls in a line from the first of `temperatures` towards the second; entropies are those at that
    temperature. A row stops when its likeliest text is the same as one call before and the mean entropy of its free
    positions is below `confident` nats (DiffusionGemma: bound 0.1, 48 steps, 0.8 to 0.4, 0.005), or when all masks are
    gone from a masked canvas. Its text is then the likeliest one: tokens that are final, and the network's favourites
    elsewhere. The network is shown the time at which the accepted share of the canvas is expected to survive. Tokens
    of `prompt` other than the mask stay.
    """
    check_bound(bound)
    check_steps(steps)
    if process.V != denoiser.V:
        raise ValueError(f"The process has V = {process.V} clean tokens and the network {denoiser.V}: they must agree.")
    if not min(temperatures) > 0 or not confident >= 0:
        raise ValueError(f"temperatures must be above 0 and confident at least 0, got {temperatures} and {confident}.")
    canvas = start_canvas(denoiser, shape, prompt, device)
    free = canvas == process.mask_id
    z = torch.where(free, process.prior(shape, generator, device), canvas)
    favourite = canvas.clone()  # the likeliest text; no text yet where there are masks
    noise = free.clone()  # where the canvas holds nothing that was accepted
    live, calls = free.any(1), torch.zeros(shape[0], dtype=torch.long, device=device)
    frames = [frame(z, torch.ones(shape[0], device=device), torch.zeros_like(free), calls=calls)] if record else None
    for step in range(steps, 0, -1):
        rows = live.nonzero()[:, 0]
        if not len(rows):
            break
        fixed = ~free[rows] if process.has_uniform else z[rows] != process.mask_id
        t = time_of(process.schedule, 1 - noise.double().mean(1)).float()
        logits = denoiser.logits(denoiser.hidden(z[rows], t[rows]))  # (N, L, V)
        p = probabilities(logits, temperatures[1] + (temperatures[0] - temperatures[1]) * step / steps)
        entropy = torch.special.entr(p).sum(-1).masked_fill(fixed, 0)
        accepted = within_bound(entropy, ~fixed, bound)
        token, renewed = draw_from(p, generator), process.prior(tuple(fixed.shape), generator, device)
        z[rows] = torch.where(fixed, z[rows], torch.where(accepted, token, renewed))
        noise[rows] = ~fixed & ~accepted

        best = torch.where(fixed, z[rows], p.argmax(-1))
        done = stable_and_confident(best, favourite[rows], entropy, free[rows], confident)
        if not process.has_uniform:
            best = torch.where(accepted, token, best)
            done |= ~noise[rows].any(1)
        favourite[rows] = best
        calls += live
        live[rows] = ~done
        if record:
            written = torch.zeros_like(free)
            written[rows] = accepted
            frames.append(frame(z, t, written, p[accepted], calls))
    return Sample(favourite, calls, frames)


def stable_and_confident(
    best: Int[Tensor, "N L"],
    before: Int[Tensor, "N L"],
    entropy: Float[Tensor, "N L"],
    free: Bool[Tensor, "N L"],
    confident: float,
) -> Bool[Tensor, "N"]:
    """Rows whose likeliest text is the one of the call before, and whose free positions have little entropy left."""
    mean = (entropy * free).sum(1) / free.sum(1)
    return (best == before).all(1) & (mean < confident)
