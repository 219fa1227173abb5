"""Exercise 1.3: nats per squared eps error of one reverse step, judged by a KL divergence of two normal laws."""

import torch
from torch.distributions import Normal, kl_divergence

from difflm_core.classroom.checks import Check, behaves_like
from difflm_core.classroom.exercises.lesson_01.levels import ALPHA_S, ALPHA_T, PROCESS, S, T, points

INPUTS = (ALPHA_S, ALPHA_T)


def snr(alpha):
    return alpha / (1 - alpha)


def right(alpha_s, alpha_t):
    return 0.5 * (snr(alpha_s) / snr(alpha_t) - 1)


def by_divergence() -> torch.Tensor:
    """KL of the true step and the model's, over the squared eps error, for some truth and some guess."""
    x, guess, z = points(5, 1), points(6, 1), points(7, 1)
    (mean, variance), (model, _) = (PROCESS.posterior(z, given, S, T) for given in (x, guess))
    kl = kl_divergence(Normal(mean, variance.sqrt()), Normal(model, variance.sqrt()))
    return (kl / (PROCESS.to_eps(z, x, T) - PROCESS.to_eps(z, guess, T)) ** 2)[:, 0]


def ddpm_large(alpha_s, alpha_t):
    ratio = alpha_t / alpha_s
    return (1 - ratio) / (2 * ratio * (1 - alpha_t))


def test(weight):
    given, truth = torch.as_tensor(weight(*(value.clone() for value in INPUTS))).double(), by_divergence()
    assert given.shape == truth.shape, "Return one weight for each pair of levels."
    row = int((given / truth - 1).abs().argmax())
    assert torch.allclose(given, truth, rtol=1e-6), (
        f"With alpha_s = {ALPHA_S[row]:g} and alpha_t = {ALPHA_T[row]:g} the KL is {truth[row]:.5f} times the squared"
        f" eps error; your weight is {given[row]:.5f}."
    )


MISTAKES = [
    (
        behaves_like(lambda s, t: 2 * right(s, t), *INPUTS),
        "A factor 1/2 is missing: the KL of two normal laws is the squared distance over *twice* the variance.",
    ),
    (
        behaves_like(lambda s, t: -right(s, t), *INPUTS),
        "The sign is wrong: SNR falls with t, so that SNR(s) - SNR(t) is positive.",
    ),
    (
        behaves_like(lambda s, t: 0.5 * (snr(s) - snr(t)), *INPUTS),
        "This is the weight of the x error. An eps error is SNR(t) x errors, so divide by SNR(t).",
    ),
    (
        behaves_like(lambda s, t: 0.5 * (snr(s) - snr(t)) * snr(t), *INPUTS),
        "Multiply or divide? |eps error|^2 = SNR(t) |x error|^2, so one x error is 1 / SNR(t) eps errors.",
    ),
    (
        behaves_like(lambda s, t: 0.5 * (snr(s) - snr(t)) / snr(s), *INPUTS),
        "The noise is predicted at t: divide by SNR(t), not by SNR(s).",
    ),
    (
        behaves_like(lambda s, t: right(t, s), *INPUTS),
        "alpha_s and alpha_t have changed places: s is the earlier, cleaner time, so SNR(s) is the larger one.",
    ),
    (
        behaves_like(ddpm_large, *INPUTS),
        "This is DDPM's Eq. 12 with the large variance, sigma^2 = beta. The exercise asks for the posterior's own.",
    ),
    (
        behaves_like(lambda s, t: 0.5 * (snr(s) - snr(t)) / (1 + snr(t)), *INPUTS),
        "This is the weight of a v error, which is 1 + SNR(t) x errors. An eps error is SNR(t) of them.",
    ),
]

ex1_3 = Check(
    "1.3",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Section 5 has the weight of the x error.",
        "Section 7 says how many x errors an eps error is.",
        "w = (SNR(s) - SNR(t)) / (2 SNR(t)).",
    ],
    reference=right,
    praise="In DDPM's letters this is beta^2 / (2 sigma^2 alpha (1 - alpha-bar)) with sigma^2 = beta-tilde.",
)
