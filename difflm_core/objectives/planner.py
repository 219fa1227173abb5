"""PLANNER's losses: a denoising VAE between text and codes, then diffusion on the codes (Zhang et al. 2023).

The VAE's two parts are nats per text, so that their plain sum is a bound:

    -log p(text) <= E -log p(text | z) + KL(q(z | text) || N(0, I))

also if the encoder is shown a corrupted text, since that is but another q. Training weighs them apart,

    beta_loss = mean over texts of  (-log p(text | z)) / tokens + beta * KL,

with KL summed over codes and their numbers and averaged over texts. beta means nothing without this sentence: here
beta = 1 / tokens trains the bound, and PLANNER's released code, which sums KL over the *batch* too, has our beta at its
own (1e-5 in its demo) times the batch size.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from difflm_core.models.planner import Planner, code_kl, draw_codes
from difflm_core.objectives.latent import latent_loss
from difflm_core.objectives.written import written_nll
from difflm_core.processes.gaussian import GaussianProcess, spread


@dataclass(frozen=True)
class PlannerLoss:
    """`reconstruction` (B,), -log p(text | z) with one draw of z, and `kl` (B, N) of every code: nats per text;
    `tokens` (B,), the real tokens of each text.
    """

    reconstruction: Float[Tensor, "B"]
    kl: Float[Tensor, "B N"]
    tokens: Int[Tensor, "B"]

    @property
    def nelbo(self) -> Float[Tensor, "B"]:
        """The bound on -log p(text), nats per text."""
        return self.reconstruction + self.kl.sum(1)

    def beta_loss(self, beta: float) -> Float[Tensor, ""]:
        """What training makes small; see above for the reduction that beta belongs to."""
        if not beta >= 0:
            raise ValueError(f"beta is the weight of KL, at least 0, got {beta}.")
        return (self.reconstruction / self.tokens + beta * self.kl.sum(1)).mean()


def planner_loss(
    model: Planner,
    h: Float[Tensor, "B L D"],
    ids: Int[Tensor, "B L"],
    mask: Bool[Tensor, "B L"] | None = None,
    generator: torch.Generator | None = None,
) -> PlannerLoss:
    """The parts of the bound. h may be the states of a corrupted text, ids are those of the clean one."""
    mean, log_variance = model.posterior(h, mask)
    codes = draw_codes(mean, log_variance, generator)
    nats = written_nll(model.decoder, model.context(codes), ids, mask).sum(1)
    tokens = torch.full_like(ids[:, 0], ids.shape[1]) if mask is None else mask.sum(1)
    return PlannerLoss(nats, code_kl(mean, log_variance), tokens)


def planner_diffusion_loss(
    process: GaussianProcess,
    net: Callable,
    codes: Float[Tensor, "B N E"],
    t: Float[Tensor, "B"],
    generator: torch.Generator | None = None,
    label: Int[Tensor, "B"] | None = None,
    label_dropout: float = 0.1,
) -> Float[Tensor, "B N E"]:
    """alpha_t (x - x_hat)^2 per number, for a network that predicts x and does not read its own estimates.

    The released code writes it as the error of eps with the weight 1 / (1 + SNR) (P2, Choi et al. 2022, gamma = 1),
    which is the same. Times run from 0.0005 to 0.9995 there.
    """
    squares = latent_loss(process, net, codes, t, "x", generator, 0.0, label, label_dropout)
    return spread(process.alpha(t), squares) * squares
