"""The exercises of lesson 06: right answers pass however they are written, and each usual mistake is named."""

import pytest
import torch
import torch.nn.functional as F
from judging import is_told, passes

from difflm_core.classroom.exercises.lesson_06 import ex6_1, ex6_2, ex6_3, ex6_4, ex6_5
from difflm_core.evaluation import interpolate
from difflm_core.objectives import Smoothing
from difflm_core.objectives.cosmos import drop_numbers, perturb

# 6.1 autoencoder_loss(logits, h_hat, ids, features, seen, mask)


def nll(logits, ids):
    return -logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]


def summed_over_texts(logits, h_hat, ids, features, seen, mask):
    squared = (h_hat - features) ** 2
    per_token = nll(logits, ids) + squared.sum(-1) / squared.shape[-1]
    return torch.where(mask, per_token, 0.0).sum() / mask.sum()


def picked(logits, h_hat, ids, features, seen, mask):
    return F.cross_entropy(logits[mask], ids[mask]) + F.mse_loss(h_hat[mask], features[mask])


@pytest.mark.parametrize("right", [summed_over_texts, picked])
def test_right_losses(right):
    passes(ex6_1, right)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda lo, hh, i, f, s, m: F.cross_entropy(lo[m], i[m]) + F.mse_loss(hh[m], s[m]), "noise and all"),
        (lambda lo, hh, i, f, s, m: (nll(lo, i) + (hh - f).square().sum(-1))[m].mean(), "sum the squared error"),
        (lambda lo, hh, i, f, s, m: (nll(lo, i) + (hh - f).square().mean(-1)).mean(), "Padding is counted"),
        (lambda lo, hh, i, f, s, m: ((nll(lo, i) + (hh - f).square().mean(-1)) * m).mean(), "all B L places"),
        (lambda lo, hh, i, f, s, m: nll(lo, i)[m].mean() + (hh - f).square().mean(), "the squared error does not"),
        (lambda lo, hh, i, f, s, m: nll(lo, i).mean() + (hh - f)[m].square().mean(), "the cross-entropy does not"),
        (lambda lo, hh, i, f, s, m: (nll(lo, i) + (hh - f).norm(dim=-1))[m].mean(), "the length of the error"),
        (
            lambda lo, hh, i, f, s, m: (((nll(lo, i) + (hh - f).square().mean(-1)) * m).sum(1) / m.sum(1)).mean(),
            "inside each text",
        ),
        (lambda lo, hh, i, f, s, m: nll(lo, i)[m].mean(), "CE alone"),
        (lambda lo, hh, i, f, s, m: (hh - f).square().mean(-1)[m].mean(), "words are missing"),
        (lambda lo, hh, i, f, s, m: ((hh - f).square().mean(-1) - nll(lo, i))[m].mean(), "sign of the cross-entropy"),
        (lambda lo, hh, i, f, s, m: ((nll(lo, i) + (hh - f).square().mean(-1)) * m).sum() / len(m), "Per token"),
        (lambda lo, hh, i, f, s, m: (nll(lo, i) + (hh - f).square().mean(-1)) * m, "one number per place"),
    ],
)
def test_wrong_losses(wrong, message):
    is_told(ex6_1, wrong, message)


# 6.2 drop_some(z, drop, generator)


@pytest.mark.parametrize(
    "right",
    [
        drop_numbers,
        lambda z, drop, generator=None: z * (torch.rand(z.shape, generator=generator) >= drop),
        lambda z, drop, generator=None: z * torch.bernoulli(torch.full(z.shape, 1 - drop), generator=generator),
    ],
)
def test_right_drops(right):
    passes(ex6_2, right)


def in_place(z, drop, generator=None):
    z[torch.rand(z.shape, generator=generator) < drop] = 0.0
    return z


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda z, drop, g=None: drop_numbers(z, drop, g) / (1 - drop), "scaled up"),
        (lambda z, drop, g=None: z * (torch.rand(z.shape, generator=g) < drop), "swapped"),
        (lambda z, drop, g=None: z * (torch.rand(len(z), 1, 1, generator=g) >= drop), "whole text"),
        (lambda z, drop, g=None: z * (torch.rand(*z.shape[:2], 1, generator=g) >= drop), "whole latent vector"),
        (lambda z, drop, g=None: z * (torch.rand(z.shape[1:], generator=g) >= drop), "All texts of the batch"),
        (lambda z, drop, g=None: z + drop * torch.randn(z.shape, generator=g), "You add noise"),
        (lambda z, drop, g=None: (1 - drop) * z, "change all numbers alike"),
        (lambda z, drop, g=None: z * (torch.rand(z.shape) >= drop), "Pass the generator"),
        (in_place, "writes into z"),
    ],
)
def test_wrong_drops(wrong, message):
    is_told(ex6_2, wrong, message)


# 6.3 what_is_read(features, mask, hide, keep, generator)


def of_the_course(features, mask, hide, keep, generator=None):
    return perturb(features, mask, Smoothing(hide=hide, keep=keep), generator)


def by_parts(features, mask, hide, keep, generator=None):
    half = len(features) // 2
    seen, visible = features.clone(), mask.clone()
    seen[half:] = keep * seen[half:] + (1 - keep**2) ** 0.5 * torch.randn(seen[half:].shape, generator=generator)
    visible[:half] &= torch.rand(visible[:half].shape, generator=generator) >= hide
    empty = ~visible.any(1)
    visible[empty] = mask[empty]
    return seen, visible


@pytest.mark.parametrize("right", [of_the_course, by_parts])
def test_right_perturbations(right):
    passes(ex6_3, right)


def changed(
    deviation=None, factor=None, hide_all=False, noise_all=False, swap=False, share=None, rescue=True, pad=False
):
    """The right answer with one thing wrong."""

    def attempt(features, mask, hide, keep, generator=None):
        first = (torch.arange(len(features)) < len(features) // 2)[:, None]
        first = ~first if swap else first
        hide = hide if share is None else share(hide)
        coin = torch.rand(mask.shape, generator=generator) < hide
        visible = (mask | True if pad else mask) & ~((first | hide_all) & coin)
        if rescue:
            visible = torch.where(visible.any(1, keepdim=True), visible, mask)
        size = (1 - keep**2) ** 0.5 if deviation is None else deviation(keep)
        noisy = (keep if factor is None else factor(keep)) * features
        noisy = noisy + size * torch.randn(features.shape, generator=generator)
        return torch.where(first[..., None] & (not noise_all), features, noisy), visible

    return attempt


def also_zeroed(features, mask, hide, keep, generator=None):
    seen, visible = of_the_course(features, mask, hide, keep, generator)
    return seen * visible[..., None], visible


def which_are_hidden(features, mask, hide, keep, generator=None):
    seen, visible = of_the_course(features, mask, hide, keep, generator)
    return seen, ~visible


@pytest.mark.parametrize(
    "wrong, message",
    [
        (also_zeroed, "set to 0 as well"),
        (which_are_hidden, "which tokens are hidden"),
        (lambda f, m, hide, keep, g=None: of_the_course(f, m, hide, keep, g)[::-1], "The order"),
        (changed(factor=lambda keep: keep**0.5, deviation=lambda keep: (1 - keep) ** 0.5), "share of the variance"),
        (changed(hide_all=True), "hidden in the whole batch"),
        (changed(noise_all=True), "All texts get noise"),
        (changed(swap=True), "halves are swapped"),
        (changed(deviation=lambda keep: 1 - keep), "deviation 1 - keep"),
        (changed(deviation=lambda keep: 1 - keep**2), "variance of the noise"),
        (changed(factor=lambda keep: 1.0), "keep their full size"),
        (changed(share=lambda hide: 1 - hide), "Hidden and visible are swapped"),
        (changed(pad=True), "Padding becomes visible"),
        (changed(rescue=False), "lose all their tokens"),
        (lambda f, m, hide, keep, g=None: of_the_course(f, m, hide, keep), "Pass the generator"),
        (lambda f, m, hide, keep, g=None: of_the_course(f, m, hide, keep, g)[0], "Return two tensors"),
    ],
)
def test_wrong_perturbations(wrong, message):
    is_told(ex6_3, wrong, message)


# 6.4 settle(z, A, B, frequency)


def written_out(z, A, B, frequency):
    half = z.shape[1] // 2
    out = z.clone()
    out[:, :half] -= torch.sin(frequency * (z[:, half:] @ B))
    out[:, half:] -= torch.sin(frequency * (out[:, :half] @ A))
    return out


def test_right_inverse():
    passes(ex6_4, written_out)


def parts(z):
    return z.chunk(2, dim=1)


def same_order(z, A, B, frequency):
    a, b = parts(z)
    b = b - (frequency * a @ A).sin()
    return torch.cat([a - (frequency * b @ B).sin(), b], dim=1)


def at_once(z, A, B, frequency):
    a, b = parts(z)
    return torch.cat([a - (frequency * b @ B).sin(), b - (frequency * a @ A).sin()], dim=1)


def by_arcsine(z, A, B, frequency):
    a, b = parts(z)
    a = a - (frequency * b @ B).asin()
    return torch.cat([a, b - (frequency * a @ A).asin()], dim=1)


def once_more(z, A, B, frequency):
    a, b = parts(z)
    b = b + (frequency * a @ A).sin()
    return torch.cat([a + (frequency * b @ B).sin(), b], dim=1)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (same_order, "wrong order. What was done last"),
        (at_once, "the *old* a"),
        (once_more, "You stir once more"),
        (lambda z, A, B, f: written_out(z, B, A, f), "A and B are swapped"),
        (lambda z, A, B, f: written_out(z, A.T, B.T, f), "transposed"),
        (lambda z, A, B, f: written_out(z, A, B, f).roll(z.shape[1] // 2, 1), "halves come back"),
        (lambda z, A, B, f: z, "Nothing is undone"),
        (by_arcsine, "not inverted"),
        (lambda z, A, B, f: written_out(z, A, B, 3.0), "use the argument"),
    ],
)
def test_wrong_inverses(wrong, message):
    is_told(ex6_4, wrong, message)


# 6.5 roughness(decode, z, generator)


def half_way(decode, z, generator=None):
    """How seldom the words between two texts are those of either."""
    first, second = z, z.roll(1, 0)
    middle = decode((first + second) / 2).argmax(-1)
    either = (middle == decode(first).argmax(-1)) | (middle == decode(second).argmax(-1))
    return 1 - either.double().mean()


def relative(decode, z, generator=None):
    """Change of the logits relative to how they differ between texts."""
    logits, moved = decode(z), decode(z + 0.05 * torch.randn(z.shape, generator=generator))
    return (moved - logits).norm() / (logits - logits.mean(0)).norm()


@pytest.mark.parametrize("right", [half_way, relative])
def test_right_probes(right):
    passes(ex6_5, right)


def by_logits(decode, z, generator=None):
    return (decode(z + 0.05 * torch.randn(z.shape, generator=generator)) - decode(z)).square().mean()


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda decode, z, g=None: decode(z).argmax(-1).double().mean() * 0, "the same for all spaces"),
        (lambda decode, z, g=None: -ex6_5.reference(decode, z, g), "Turn it round"),
        (by_logits, "size of the logits alone"),
        (lambda decode, z, g=None: decode(z).argmax(-1).double(), "one finite number"),
    ],
)
def test_wrong_probes(wrong, message):
    is_told(ex6_5, wrong, message)


def test_the_interpolation_of_the_package_ranks_the_spaces_too():
    from difflm_core.classroom.exercises.lesson_06.roughness import space

    found = []
    for strength in (0.0, 0.5, 1.0):
        decode, z = space(strength, 1)
        pairs, ids = torch.stack(z.chunk(2)), torch.stack(decode(z).argmax(-1).chunk(2))
        found.append(interpolate(decode, pairs, ids, torch.ones_like(ids, dtype=torch.bool), (0.5,)).nearer.item())
    assert found[0] < found[1] < found[2]
