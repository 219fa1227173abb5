"""The four rungs of MDLM's ablation ladder (Sahoo et al. 2024, Table 8), as bounds in nats per token.

Each rung takes one ingredient away. All use the linear schedule, so t is the expected share of masks.

1. `continuous`: MDLM itself. 2. `discrete`: T steps instead of continuous time (Eq. 8). 3. `no_carry_over`: nothing
says that a visible token stays. The masked positions cost the same, but the last step, from z_0 = x to the text, must
now be
   *learned*: L_0 = -log p(x | z_0) is a sum over all positions that carry-over makes zero.
4. `no_zero_masking`: the network may also predict [MASK]; then the loss is D3PM's absorbing KL (Eq. 9), in which its
mask probability enters.

For the last rung the network has V + 1 outputs; the others use V. `denoiser(z_t, t)` must return all logits.
"""

import torch
import torch.nn.functional as F

from difflm_core.objectives import masked_nelbo, masked_nelbo_discrete
from difflm_core.processes import masked


def continuous(denoiser, x, t, V, T, generator=None):
    return masked_nelbo(masked(V), denoiser, x, t, generator)


def discrete(denoiser, x, t, V, T, generator=None):
    return masked_nelbo_discrete(masked(V), denoiser, x, t, T, generator)


def no_carry_over(denoiser, x, t, V, T, generator=None):
    return discrete(denoiser, x, t, V, T, generator) + reconstruction(denoiser, x)


def no_zero_masking(denoiser, x, t, V, T, generator=None):
    return absorbing_kl(denoiser, x, t, V, T, generator) + reconstruction(denoiser, x)


def reconstruction(denoiser, x):
    """-log p(x | z_0 = x): how well the network copies what it sees, (B, L)."""
    return F.cross_entropy(denoiser(x, torch.zeros(len(x))).transpose(1, 2), x, reduction="none")


def absorbing_kl(denoiser, x, t, V, T, generator=None):
    """T KL(q(z_s | z_t, x) || p(z_s | z_t)) at masked positions when x_hat may put mass mu on the mask: MDLM Eq. 9.

    With alpha = 1 - t: the true step reveals x with probability a = (t - s)/t and stays masked with b = s/t. The
    plug-in step has the odds (t - s) x_hat(x) : s + (1 - s) mu, over the sum t + (1 - t) mu.
    """
    step = (t * T).ceil().clamp(1, T)
    s, t = ((step - 1) / T)[:, None], (step / T)[:, None]
    z_t = masked(V).corrupt(x, t[:, 0], generator)
    log_p = denoiser(z_t, t[:, 0]).log_softmax(-1)  # (B, L, V + 1)
    mu, log_px = log_p[..., V].exp(), log_p.gather(-1, x[..., None])[..., 0]
    log_norm = torch.log1p((1 - t) * mu / t)
    stay = torch.where(
        s > 0, torch.log1p((1 - s) * mu / s.clamp_min(1e-9)), torch.zeros_like(mu)
    )  # at s = 0 nothing stays masked
    kl = (t - s) / t * (log_norm - log_px) + s / t * (log_norm - stay)
    return T * kl * (z_t == V)
