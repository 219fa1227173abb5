"""Exercise 4.2: the KL of each code from N(0, I), judged against torch.distributions."""

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.spies import seeded

B, N, E = 3, 2, 5
MEAN = torch.randn(B, N, E, generator=seeded(1), dtype=torch.float64).tanh()
LOG_VARIANCE = torch.randn(B, N, E, generator=seeded(2), dtype=torch.float64) - 1


def reference(mean, log_variance):
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)


STANDARD = Normal(torch.zeros((), dtype=torch.float64), 1.0)
EXACT = kl_divergence(Normal(MEAN, (LOG_VARIANCE / 2).exp()), STANDARD)  # (B, N, E)
TRUTH = EXACT.sum(-1)


def ask(attempt) -> Tensor:
    return torch.as_tensor(attempt(MEAN.clone(), LOG_VARIANCE.clone())).double()


def test(attempt):
    value = ask(attempt)
    assert value.shape == (B, N), f"Return one number per code, shaped {(B, N)}, not {tuple(value.shape)}."
    assert torch.allclose(value, TRUTH, rtol=1e-5), (
        f"The first code costs {TRUTH[0, 0]:.4f} nats; yours: {value[0, 0]:.4f}."
    )


def gives(wrong: Tensor):
    return lambda attempt: ask(attempt).shape == wrong.shape and torch.allclose(ask(attempt), wrong, rtol=1e-5)


SQUARE, VARIANCE = MEAN.square(), LOG_VARIANCE.exp()

MISTAKES = [
    (gives(EXACT), "That is one number per number of a code. The numbers are independent, so their KLs add: sum(-1)."),
    (gives(EXACT.mean(-1)), "That is the mean over the numbers. KLs of independent numbers add up: sum, not mean."),
    (
        gives(EXACT.sum((1, 2))),
        "You have added the codes up as well. One number per code: a code that nobody uses is to be seen.",
    ),
    (gives(EXACT.sum()), "You have added everything up. Keep texts and codes, (B, N): sum over the last axis alone."),
    (gives(EXACT.mean()), "That is the mean of everything. Keep texts and codes, (B, N), and sum the last axis."),
    (gives(2 * TRUTH), "The factor 1/2 is missing, it comes from the exponent of the normal density."),
    (gives(-TRUTH), "The sign: KL is never negative, and yours is never positive."),
    (
        gives(0.5 * (SQUARE + LOG_VARIANCE.mul(2).exp() - 1 - LOG_VARIANCE).sum(-1)),
        "exp(log_variance) is the variance already. You square it once more.",
    ),
    (
        gives(0.5 * (SQUARE + LOG_VARIANCE.mul(2).exp() - 1 - 2 * LOG_VARIANCE).sum(-1)),
        "You read log_variance as log sigma. It is log sigma^2: the variance is log_variance.exp().",
    ),
    (
        gives(0.5 * (SQUARE + (LOG_VARIANCE / 2).exp() - 1 - LOG_VARIANCE).sum(-1)),
        "exp(log_variance / 2) is the standard deviation. The formula has the variance.",
    ),
    (
        gives(0.5 * (SQUARE + VARIANCE - 1 - VARIANCE.log() / 2).sum(-1)),
        "log sigma^2 is what you were given; you halve it. The 1/2 stands before the whole bracket only.",
    ),
    (
        gives(0.5 * (SQUARE + VARIANCE - LOG_VARIANCE).sum(-1)),
        "The -1 is missing: at mean 0 and variance 1 the KL must be 0.",
    ),
    (
        gives(0.5 * (VARIANCE - 1 - LOG_VARIANCE).sum(-1)),
        "The mean does not appear. A code far from 0 costs more: mean^2.",
    ),
    (
        gives(0.5 * (MEAN + VARIANCE - 1 - LOG_VARIANCE).sum(-1)),
        "The square is missing: it is mean^2 that counts, on either side of 0.",
    ),
    (
        gives(0.5 * ((1 + SQUARE) / VARIANCE - 1 + LOG_VARIANCE).sum(-1)),
        "That is KL(N(0, I) || q), the other way round. The bound has KL(q || N(0, I)).",
    ),
]

ex4_2 = Check(
    "4.2",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "KL = E_q [log q(z) - log p(z)]. Write both log-densities; E_q z^2 = mean^2 + variance.",
        "Per number: (mean^2 + variance - 1 - log variance) / 2.",
        "0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1)",
    ],
    reference=reference,
    praise="In nats per code: what it costs to say this code to someone who expects N(0, I).",
)
