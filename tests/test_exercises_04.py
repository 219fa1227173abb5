"""The exercises of lesson 04: right answers pass however they are written, and each usual mistake is named."""

import pytest
import torch
from judging import is_told, passes
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from difflm_core.classroom.exercises.lesson_04 import ex4_1, ex4_2, ex4_3, ex4_4
from difflm_core.models import code_kl
from difflm_core.processes import uniform
from difflm_core.studies.planner import one_gaussian
from difflm_core.training import corrupted

# 4.1 weight_of_kl(beta, B, tokens)


def test_right_weights():
    passes(ex4_1, lambda beta, B, tokens: beta * B * tokens)
    passes(ex4_1, lambda beta, B, tokens: torch.tensor(beta, dtype=torch.float64) / (1 / (B * tokens)))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda beta, B, tokens: beta, "as it is written"),
        (lambda beta, B, tokens: beta * B, "per *token* as well"),
        (lambda beta, B, tokens: beta * tokens, "B is missing"),
        (lambda beta, B, tokens: beta / (B * tokens), "Upside down"),
        (lambda beta, B, tokens: beta * tokens / B, "B belongs on the other side"),
        (lambda beta, B, tokens: beta * B / tokens, "The tokens belong on the other side"),
        (lambda beta, B, tokens: 1.0, "KL weighs"),
    ],
)
def test_wrong_weights(wrong, message):
    is_told(ex4_1, wrong, message)


# 4.2 kl_per_code(mean, log_variance)


def by_distributions(mean, log_variance):
    standard = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    return kl_divergence(Normal(mean, (log_variance / 2).exp()), standard).sum(-1)


@pytest.mark.parametrize("right", [by_distributions, code_kl])
def test_right_kls(right):
    passes(ex4_2, right)


def parts(mean, log_variance):
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (parts, "one number per number"),
        (lambda m, v: parts(m, v).mean(-1), "mean over the numbers"),
        (lambda m, v: parts(m, v).sum((1, 2)), "added the codes up"),
        (lambda m, v: parts(m, v).sum(), "added everything up"),
        (lambda m, v: parts(m, v).mean(), "mean of everything"),
        (lambda m, v: 2 * parts(m, v).sum(-1), "factor 1/2"),
        (lambda m, v: -parts(m, v).sum(-1), "The sign"),
        (lambda m, v: 0.5 * (m**2 + v.exp() ** 2 - 1 - v).sum(-1), "once more"),
        (lambda m, v: 0.5 * (m**2 + (v / 2).exp() - 1 - v).sum(-1), "standard deviation"),
        (lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v / 2).sum(-1), "you halve it"),
        (lambda m, v: 0.5 * (m**2 + v.exp() - v).sum(-1), "The -1 is missing"),
        (lambda m, v: 0.5 * (v.exp() - 1 - v).sum(-1), "mean does not appear"),
        (lambda m, v: 0.5 * (m + v.exp() - 1 - v).sum(-1), "The square is missing"),
        (lambda m, v: 0.5 * (m**2 + (2 * v).exp() - 1 - 2 * v).sum(-1), "as log sigma."),
        (lambda m, v: 0.5 * ((1 + m**2) / v.exp() - 1 + v).sum(-1), "the other way round"),
        (lambda m, v: parts(m, v).sum(-1) + 1, "The first code costs"),
    ],
)
def test_wrong_kls(wrong, message):
    is_told(ex4_2, wrong, message)


# 4.3 swap_words(ids, share, V, generator)


def by_the_package(ids, share, V, generator=None):
    return corrupted(uniform(V), share, generator)(ids)


def by_indices(ids, share, V, generator=None):
    out = ids.clone()
    where = torch.rand(ids.shape, generator=generator) < share
    out[where] = torch.randint(V, (int(where.sum()),), generator=generator)
    return out


@pytest.mark.parametrize("right", [by_the_package, by_indices])
def test_right_swaps(right):
    passes(ex4_3, right)


def swap_with(coins=lambda ids: ids.shape, words=None, keep=False):
    def swap(ids, share, V, generator=None):
        where = torch.rand(coins(ids), generator=generator) < share
        new = torch.randint(V, ids.shape, generator=generator) if words is None else words(ids, V, generator)
        return torch.where(~where if keep else where, new, ids)

    return swap


def never_the_old_word(ids, V, g):
    return (ids + torch.randint(1, V, ids.shape, generator=g)) % V


def in_place(ids, share, V, generator=None):
    return ids.copy_(by_indices(ids, share, V, generator))


def shuffle(ids, share, V, generator=None):
    return ids.gather(1, torch.rand(ids.shape, generator=generator).argsort(1)) if share else ids


@pytest.mark.parametrize(
    "wrong, message",
    [
        (swap_with(lambda ids: (len(ids), 1)), "Whole texts"),
        (swap_with(lambda ids: ids.shape[1]), "The same places"),
        (swap_with(words=lambda ids, V, g: torch.full_like(ids, V)), "a mask"),
        (swap_with(keep=True), "You keep the share"),
        (swap_with(words=lambda ids, V, g: torch.randint(V, (1, 1), generator=g).expand_as(ids)), "one and the same"),
        (swap_with(words=lambda ids, V, g: torch.randint(V, (len(ids), 1), generator=g)), "one and the same"),
        (swap_with(words=lambda ids, V, g: torch.randint(V, ids.shape[1:], generator=g)), "one and the same"),
        (swap_with(words=lambda ids, V, g: torch.randint(V - 1, ids.shape, generator=g)), "V - 1 is never drawn"),
        (swap_with(words=lambda ids, V, g: torch.randint(1, V, ids.shape, generator=g)), "Word 0 is never drawn"),
        (swap_with(words=lambda ids, V, g: ids[torch.randperm(len(ids), generator=g)]), "drawn evenly"),
        (swap_with(words=never_the_old_word), "never stays what it was"),
        (lambda ids, share, V, generator=None: by_indices(ids, share, V, generator).float(), "whole numbers"),
        (shuffle, "Words change places"),
        (lambda ids, share, V, generator=None: ids, "Nothing is changed"),
        (in_place, "writes into ids"),
        (lambda ids, share, V, generator=None: by_indices(ids, share, V), "same generator"),
        (swap_with(words=lambda ids, V, g: torch.randint(V // 2, ids.shape, generator=g)), "drawn evenly"),
        (lambda ids, share, V, generator=None: by_indices(ids, share / 2, V, generator), "At a share of 0.3"),
    ],
)  # fmt: skip
def test_wrong_swaps(wrong, message):
    is_told(ex4_3, wrong, message)


# 4.4 gaussian_codes(codes, n, generator)


def by_eigenvectors(codes, n, generator=None):
    flat = codes.flatten(1)
    size, axes = torch.linalg.eigh((flat - flat.mean(0)).T @ (flat - flat.mean(0)) / len(flat))
    eps = torch.randn(n, flat.shape[1], generator=generator, dtype=codes.dtype)
    return (flat.mean(0) + eps * size.clamp_min(0).sqrt() @ axes.T).view(n, *codes.shape[1:])


def by_mixing(codes, n, generator=None):
    """Random combinations of all centred codes have their covariance."""
    flat = codes.flatten(1)
    weights = torch.randn(n, len(flat), generator=generator, dtype=codes.dtype) / len(flat) ** 0.5
    return (flat.mean(0) + weights @ (flat - flat.mean(0))).view(n, *codes.shape[1:])


@pytest.mark.parametrize("right", [by_eigenvectors, by_mixing, one_gaussian])
def test_right_gaussians(right):
    passes(ex4_4, right)


def gaussian_with(shape=lambda flat, n: (n, flat.shape[1]), factor=None, mean=1.0):
    def draw(codes, n, generator=None):
        flat = codes.flatten(1)
        root = torch.linalg.cholesky(flat.T.cov()).T if factor is None else factor(flat)
        eps = torch.randn(shape(flat, n), generator=generator, dtype=codes.dtype)
        return (mean * flat.mean(0) + eps @ root).expand(n, -1).view(n, *codes.shape[1:])

    return draw


def apart(codes, n, generator=None):
    draws = [MultivariateNormal(c.mean(0), c.T.cov()) for c in codes.unbind(1)]
    eps = torch.randn(n, *codes.shape[1:], generator=generator, dtype=codes.dtype)
    return torch.stack([d.loc + eps[:, i] @ d.scale_tril.T for i, d in enumerate(draws)], 1)


def spins(codes, n, generator=None):
    """The right moments from coins."""
    flat = codes.flatten(1)
    coins = torch.randint(2, (n, flat.shape[1]), generator=generator).to(codes.dtype) * 2 - 1
    return (flat.mean(0) + coins @ torch.linalg.cholesky(flat.T.cov()).T).view(n, *codes.shape[1:])


@pytest.mark.parametrize(
    "wrong, message",
    [
        (gaussian_with(lambda flat, n: (1, flat.shape[1])), "All draws are the same"),
        (lambda codes, n, g=None: codes[torch.randint(len(codes), (n,), generator=g)], "writes training texts again"),
        (lambda codes, n, g=None: torch.randn(n, *codes.shape[1:], generator=g, dtype=codes.dtype), "prior of the VAE"),
        (gaussian_with(factor=lambda flat: flat.std(0).diag()), "the numbers are independent"),
        (apart, "drawn apart"),
        (gaussian_with(mean=0.0), "the mean is missing"),
        (gaussian_with(factor=lambda flat: flat.T.cov()), "covariance C C"),
        (gaussian_with(factor=lambda flat: torch.linalg.cholesky(flat.T.cov())), "Transposed"),
        (lambda codes, n, g=None: gaussian_with()(codes, n), "same generator"),
        (spins, "not normal"),
        (gaussian_with(mean=2.0), "mean is off"),
        (lambda *given: gaussian_with()(*given).flatten(1), "Return codes shaped"),
    ],
)  # fmt: skip
def test_wrong_gaussians(wrong, message):
    is_told(ex4_4, wrong, message)
