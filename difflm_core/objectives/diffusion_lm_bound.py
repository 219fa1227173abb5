"""The exact bound of Diffusion-LM on -log p(w), in nats per token (Li et al. 2022, Eq. 2 and Appendix E).

    -log p(w) <= E_{x_0 ~ q(x_0 | w)} [ L_T + L_{T-1} + ... + L_1 + L_0 + L_round ]

    L_T      KL(q(x_T | x_0) || N(0, I))                    what the noise still knows
    L_{t-1}  KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))  one reverse step, t = T, ..., 2
    L_0      log q(x_0 | w) - log p(x_0 | x_1)              the last one, to the vectors; negative where x_1 says more
                                                            of x_0 than the words do
    L_round  -log p(w | x_0)                                from vectors to words

The paper leaves the variance of p open. Here it is that of q(x_{t-1} | x_t, w), the true one once no doubt about the
words is left: between DDPM's two fixed choices, since x_0 is a word plus a little noise.

The bound is hard on networks: a step weighs the squared error of x_hat by the signal-to-noise ratio that it gains,
which has no limit towards t = 0. An x_hat that is a hair beside the right embedding reads perfectly and costs several
nats. Hence the choice of `denoise`: `model.rounded_x_hat` puts x_hat on an embedding while there is little noise, the
same trick as clamping in the sampler.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.models.diffusion_lm import DiffusionLM
from difflm_core.objectives.diffusion_lm import rounding
from difflm_core.objectives.gaussian import gaussian_prior, latent_times, reverse_term
from difflm_core.objectives.gaussian_variance import Variance, best_variance
from difflm_core.processes.schedules import check_times


@dataclass(frozen=True)
class DiffusionLMParts:
    """Nats per token: `prior` L_T, `start` L_0 and `rounding`, each (B, L); `steps` (T - 1, B, L), steps[i] from time
    (i + 2)/T to (i + 1)/T.
    """

    prior: Float[Tensor, "B L"]
    steps: Float[Tensor, "T-1 B L"]
    start: Float[Tensor, "B L"]
    rounding: Float[Tensor, "B L"]

    @property
    def nelbo(self) -> Float[Tensor, "B L"]:
        return self.prior + self.steps.sum(0) + self.start + self.rounding


@torch.no_grad()
def diffusion_lm_nelbo(
    model: DiffusionLM,
    x: Int[Tensor, "B L"],
    T: int,
    generator: torch.Generator | None = None,
    denoise: Callable | None = None,
) -> DiffusionLMParts:
    """Every part of the bound, with one draw of x_0 and one of each x_t: T network calls, and no chance in t.

    A smaller T is another model with a looser bound. `denoise(z_t, t) -> x_hat` is the network's by default;
    `model.rounded_x_hat` is another one. A network with self-conditioning is asked without a previous estimate: with
    one, p(x_s | z_t) would depend on more than z_t. Warns if L_T is large: the schedule does not reach noise.
    """
    times, x_0, terms = latent_times(T).to(x.device), model.start(x, generator), []
    for i in range(T):
        terms.append(one_term(model, denoise or model.x_hat, x_0, times, torch.full((len(x),), i), generator))
    start = terms[0] + log_start(model, x, x_0)
    steps = torch.stack(terms[1:]) if terms[1:] else x_0.new_zeros(0, *x.shape)
    return DiffusionLMParts(prior(model, x_0), steps, start, rounding(model, x, x_0))


@torch.no_grad()
def diffusion_lm_nelbo_at(
    model: DiffusionLM,
    x: Int[Tensor, "B L"],
    t: Float[Tensor, "B"],
    T: int,
    generator: torch.Generator | None = None,
    denoise: Callable | None = None,
) -> Float[Tensor, "B L"]:
    """Estimate of the bound by two calls: the first step, t = 1/T, always, and of the T - 1 others the one that
    t ~ U(0, 1) falls into, T - 1 times. A draw over all T would be dominated by the first: log q(x_0 | w) and
    -log p(x_0 | x_1) are large, nearly cancel, and only one of them would be multiplied by T.
    """
    check_times(t)
    times, x_0, denoise = latent_times(T).to(x.device), model.start(x, generator), denoise or model.x_hat
    first = one_term(model, denoise, x_0, times, torch.zeros(len(x), dtype=torch.long), generator)
    bound = prior(model, x_0) + first + log_start(model, x, x_0) + rounding(model, x, x_0)
    if T == 1:
        return bound
    step = (t.double() * (T - 1)).ceil().long().clamp(1, T - 1)
    return bound + (T - 1) * one_term(model, denoise, x_0, times, step, generator)


def one_term(model, denoise, x_0, times, step, generator) -> Float[Tensor, "B L"]:
    """The KL divergence of one reverse step, or -log p(x_0 | x_1) in rows of step 0."""
    step = step.to(x_0.device)
    z_t = model.process.corrupt(x_0, times[step], generator)
    x_hat = denoise(z_t, times[step].to(x_0.dtype))
    return reverse_term(model.process, x_0, x_hat, z_t, times, step, known_words(model)).sum(-1).to(x_0.dtype)


def known_words(model: DiffusionLM) -> Variance:
    """The variance of q(x_s | x_t, w)."""

    def of_x_0(z_t, t):  # Var[x_0 | x_t, w]: Bayes' rule for two normal laws
        alpha = model.process.alpha(t)
        return model.sigma_0**2 * (1 - alpha) / (1 - alpha + alpha * model.sigma_0**2)

    return best_variance(lambda z_t, t: of_x_0(z_t, t).view(-1, *[1] * (z_t.ndim - 1)), model.process)


def prior(model, x_0) -> Float[Tensor, "B L"]:
    return gaussian_prior(model.process, x_0).sum(-1).to(x_0.dtype)


def log_start(model, x, x_0) -> Float[Tensor, "B L"]:
    """log q(x_0 | w)"""
    scaled = (x_0 - model.embed(x)) / model.sigma_0
    return -0.5 * scaled.square().sum(-1) - model.D * math.log(model.sigma_0 * math.sqrt(2 * math.pi))
