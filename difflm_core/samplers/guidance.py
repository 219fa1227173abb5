"""Classifier guidance: after every denoising step, climb towards vectors that a classifier likes (Li et al. 2022,
section 5.1).

By Bayes' rule p(z_s | z_t, c) is proportional to p(z_s | z_t) p(c | z_s): the model says what is fluent, the classifier
what is wanted. Diffusion-LM does not draw from that product; it takes the z_s that the sampler drew and moves it a few
times along the gradient of

    lambda * log p(z_s | z_t)  +  log p(c | z_s)

with Adagrad. lambda = 1 is Bayes' rule; a smaller lambda trusts the classifier more, at the price of fluency. Adagrad
divides a gradient by the root of the squared gradients so far, so that the first update moves every number by the
learning rate, whatever the size of its gradient: the learning rate bounds how far one step can be pulled.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from difflm_core.processes.gaussian import GaussianProcess, tiny


def classifier_guide(
    process: GaussianProcess,
    log_label: Callable[[Tensor, Tensor], Float[Tensor, "B"]],
    fluency: float = 0.01,
    learning_rate: float = 0.1,
    updates: int = 3,
    until: float = 0.0,
) -> Callable:
    """A `guide(z_s, z_t, x_hat, s, t) -> z_s` for `sample_gaussian` and `sample_diffusion_lm`.

    `log_label(z_s, s)` is log p(c | z_s), one number per row: `classifier.says(label)`, or a sum of several for several
    labels at once. `fluency` is lambda. Each step starts Adagrad's squares afresh. Steps to s < `until` are left alone
    (the released code leaves the last 10). p(z_s | z_t) is the law of an ancestral step, eta = 1. Raises ValueError for
    a negative lambda, a learning rate that is not positive, or no update.
    """
    if fluency < 0 or not learning_rate > 0 or updates < 1:
        raise ValueError(
            f"Guidance needs fluency >= 0, learning_rate > 0 and at least one update, got {fluency}, {learning_rate} "
            f"and {updates}."
        )

    @torch.enable_grad()
    def guide(z_s, z_t, x_hat, s, t):
        if float(s[0]) < until:
            return z_s
        mean, variance = process.posterior(z_t, x_hat, s, t)
        z, squares = z_s, torch.zeros_like(z_s)
        for _ in range(updates):
            z = z.detach().requires_grad_()
            log_fluent = -(z - mean).square() / (2 * variance.clamp_min(tiny(z)))
            gain = fluency * log_fluent.sum() + log_label(z, s).sum()
            gradient = torch.autograd.grad(gain, z)[0]
            squares = squares + gradient.square()
            z = z + learning_rate * gradient / (squares.sqrt() + 1e-10)
        return z.detach()

    return guide
