"""The same algorithms as other code bases run them, from their descriptions: every position, every token."""

import torch
from torch import Tensor


def subs(logits: Tensor, z_t: Tensor, mask: int) -> Tensor:
    """MDLM section 3.2.3 on V + 1 outputs: the mask gets no probability, a visible token is certain. Edits in place
    where it can, as MDLM does.
    """
    logits[..., mask] = -torch.inf
    log_p = logits - logits.logsumexp(-1, keepdim=True)
    visible = z_t != mask
    log_p[visible] = -torch.inf
    log_p[visible, z_t[visible]] = 0
    return log_p


def full_logits_loss(head: Tensor, h: Tensor, x: Tensor, z_t: Tensor, weight: Tensor) -> Tensor:
    """(B, L) nats: head of V + 1 rows on every position, SUBS, gather, weigh."""
    log_p = subs(torch.nn.functional.linear(h, head), z_t, len(head) - 1)
    return -weight[:, None] * log_p.gather(-1, x[..., None])[..., 0]


def race(p: Tensor, generator=None) -> Tensor:
    """One float32 exponential (Gumbel) race over the whole vocabulary for every position."""
    noise = 1e-10 - (torch.rand(p.shape, generator=generator) + 1e-10).log()
    return (p / noise).argmax(-1)


def gumbel_in_float64(logits: Tensor, generator=None) -> Tensor:
    """LLaDA's remedy: the race in float64, on logits."""
    logits = logits.double()
    u = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
    return (logits - (-u.log()).log()).argmax(-1)


def full_vocabulary_step(p_x: Tensor, z_t: Tensor, s: float, t: float, generator=None) -> Tensor:
    """Linear schedule, t -> s: the posterior over V + 1 symbols at every position (in place), a race, and visible
    tokens put back.
    """
    mask = p_x.shape[-1] - 1
    posterior = p_x * (t - s)
    posterior[..., mask] = s
    return torch.where(z_t == mask, race(posterior, generator), z_t)


@torch.no_grad()
def cached_sampler(model, T: int, shape: tuple[int, int], generator=None) -> tuple[Tensor, int]:
    """MDLM's ddpm_cache: T steps, and a new network call only after a step that changed any row. Returns (tokens,
    network calls).
    """
    z, p_x, calls = torch.full(shape, model.V), None, 0
    for step in range(T, 0, -1):
        if p_x is None:
            logits = model.logits(model.hidden(z, None))
            p_x = torch.cat([logits.softmax(-1), torch.zeros_like(logits[..., :1])], -1)
            calls += 1
        new = full_vocabulary_step(p_x, z, (step - 1) / T, step / T, generator)
        if not torch.equal(new, z):
            p_x = None
        z = new
    return z, calls
