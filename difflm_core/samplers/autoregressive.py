"""The autoregressive twin's sampler: left to right, one call per token, with cached keys and values."""

import torch
from jaxtyping import Int
from torch import Tensor

from difflm_core.models import KeyValueCache, Transformer
from difflm_core.samplers.categorical import draw_from, probabilities
from difflm_core.samplers.masked import start_canvas
from difflm_core.samplers.sample import Sample, frame


@torch.no_grad()
def sample_ar(
    model: Transformer,
    shape: tuple[int, int],
    prompt: Int[Tensor, "B P"] | None = None,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    record: bool = False,
    device=None,
) -> Sample:
    """Draw (B, L) tokens left to right. `prompt` is a prefix (B, P) that is read in one call and kept. `network_calls`
    is L - P for every row (L without a prompt).
    """
    B, L = shape
    if not model.config.causal:
        raise ValueError(
            "Autoregressive sampling needs a causal model; for a bidirectional one use `sample_masked` with "
            "`left_to_right()`."
        )
    if prompt is not None and (prompt.ndim != 2 or len(prompt) != B or prompt.shape[1] >= L):
        raise ValueError(
            f"The prompt must be (batch, fewer than {L} tokens) for a canvas of {tuple(shape)}, got "
            f"{tuple(prompt.shape)}."
        )
    if prompt is not None and prompt.numel() and not 0 <= int(prompt.min()) <= int(prompt.max()) < model.V:
        raise ValueError(f"Prompt ids must lie in 0..{model.V - 1}, got {int(prompt.min())}..{int(prompt.max())}.")
    z = start_canvas(model, shape, None, device)
    known = 0 if prompt is None else prompt.shape[1]
    if known:
        z[:, :known] = prompt
    cache = KeyValueCache()
    unread = torch.cat([torch.full((B, 1), model.mask_id, dtype=torch.long, device=z.device), z[:, :known]], dim=1)
    calls, nothing = torch.zeros(B, dtype=torch.long, device=z.device), torch.zeros_like(z, dtype=torch.bool)
    frames = [frame(z, torch.ones(B, device=z.device), nothing, calls=calls)] if record else None
    for position in range(known, L):
        h = model.hidden(unread, None, cache)[:, -1]  # (B, D)
        p = probabilities(model.logits(h), temperature, top_p)
        z[:, position] = draw_from(p, generator)
        unread = z[:, position : position + 1]
        calls += 1
        if record:
            written = torch.zeros_like(z, dtype=torch.bool)
            written[:, position] = True
            frames.append(frame(z, torch.full((B,), 1 - position / L, device=z.device), written, p, calls))
    return Sample(z, calls, frames)
