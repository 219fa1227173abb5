"""The exercises of lesson 02: right answers pass however they are written, and each usual mistake is named."""

import math

import pytest
import torch
import torch.nn.functional as F
from judging import is_told, passes

from difflm_core.classroom.exercises import lesson_02
from difflm_core.classroom.exercises.lesson_02 import ex2_1, ex2_2, ex2_3, ex2_4, three_calls
from difflm_core.data import toy_language
from difflm_core.processes import GaussianProcess, Rescaled, Sqrt, time_of
from difflm_core.processes.ddpm_grid import betas_of

# 2.1 start_noise(T, s)


def by_the_grid(T, s):
    return betas_of(Sqrt(s), T)[0].sqrt()


def by_the_process(T, s):
    t = torch.tensor([1 / T], dtype=torch.float64)
    return GaussianProcess(Rescaled(Sqrt(s))).between(torch.zeros_like(t), t)[1].sqrt().item()


@pytest.mark.parametrize("right", [by_the_grid, by_the_process])
def test_right_starts(right):
    passes(ex2_1, right)
    assert float(right(2000, 1e-4)) == pytest.approx(0.121001283, abs=1e-8)


def alpha(t, s):
    return 1 - math.sqrt(t + s)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda T, s: math.sqrt(1 - alpha(0, s)), "the paper's 0.1"),
        (lambda T, s: math.sqrt(1 - alpha(1 / T, s)), "it starts from 1"),
        (lambda T, s: 1 - alpha(1 / T, s) / alpha(0, s), "a variance"),
        (lambda T, s: math.sqrt(alpha(1 / T, s) / alpha(0, s)), "That is the signal"),
        (lambda T, s: math.sqrt(alpha(0, s) / alpha(1 / T, s) - 1), "upside down"),
        (lambda T, s: math.sqrt(alpha(0, s) - alpha(1 / T, s)), "a difference"),
        (lambda T, s: 0.121, "the deviation is 0.07"),
        (lambda T, s: math.nan, "yours is nan"),
    ],
)
def test_wrong_starts(wrong, message):
    is_told(ex2_1, wrong, message)


# 2.2 rounding_nats(x_0, embedding, bias, w)


def by_cross_entropy(x_0, embedding, bias, w):
    scores = torch.einsum("bld,vd->bvl", x_0, embedding) + bias[:, None]
    return F.cross_entropy(scores, w, reduction="none")


def by_logsumexp(x_0, embedding, bias, w):
    own = (x_0 * embedding[w]).sum(-1) + bias[w]
    return torch.logsumexp(x_0 @ embedding.T + bias, -1) - own


@pytest.mark.parametrize("right", [by_cross_entropy, by_logsumexp])
def test_right_rounding(right):
    passes(ex2_2, right)


def distances(x_0, embedding):
    return -0.5 * (x_0[..., None, :] - embedding).square().sum(-1)


def pick(table, w):
    return table.gather(-1, w[..., None])[..., 0]


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda *i: by_cross_entropy(*i).mean(), "one number per word"),
        (lambda *i: by_cross_entropy(*i).sum(-1), "one number per word"),
        (lambda *i: -by_cross_entropy(*i), "The sign"),
        (lambda *i: (-by_cross_entropy(*i)).exp(), "p(w | x_0) itself"),
        (lambda x, e, b, w: -pick(x @ e.T + b, w), "not log-probabilities yet"),
        (lambda x, e, b, w: -pick((x @ e.T + b).softmax(-1).log_softmax(-1), w), "softmax twice"),
        (lambda x, e, b, w: by_cross_entropy(x, e, 0 * b, w), "bias is missing"),
        (lambda x, e, b, w: -pick((x @ e.T + b).log_softmax(1), w), "over the positions"),
        (lambda x, e, b, w: -pick((distances(x, e) + b).log_softmax(-1), w), "by distance"),
        (lambda x, e, b, w: -pick(distances(x, e).log_softmax(-1), w), "by distance"),
        (lambda x, e, b, w: by_cross_entropy(e[w], e, b, w), "without their noise"),
        (lambda *i: by_cross_entropy(*i) / math.log(2), "The first word costs"),
    ],
)
def test_wrong_rounding(wrong, message):
    is_told(ex2_2, wrong, message)


# 2.3 clamp(x_hat, embedding)


def by_completed_square(x_hat, embedding):
    return embedding[(x_hat @ embedding.T - embedding.square().sum(-1) / 2).argmax(-1)]


def by_loop(x_hat, embedding):
    flat = [min(embedding, key=lambda e, x=x: float((x - e).norm())) for x in x_hat.flatten(0, 1)]
    return torch.stack(flat).view(x_hat.shape)


@pytest.mark.parametrize("right", [by_completed_square, by_loop])
def test_right_clamps(right):
    passes(ex2_3, right)


def in_place(x_hat, embedding):
    return x_hat.copy_(by_completed_square(x_hat, embedding))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda x, e: torch.cdist(x, e).argmin(-1), "the numbers of the words"),
        (lambda x, e: torch.cdist(x, e).amin(-1), "You return the distances"),
        (lambda x, e: e[(x @ e.T).argmax(-1)], "long embeddings win"),
        (lambda x, e: e[(F.normalize(x, dim=-1) @ F.normalize(e, dim=-1).T).argmax(-1)], "directions"),
        (lambda x, e: e[torch.cdist(x, e).argmax(-1)], "the farthest"),
        (lambda x, e: (-torch.cdist(x, e)).softmax(-1) @ e, "is no embedding"),
        (lambda x, e: (x @ e.T).softmax(-1) @ e, "is no embedding"),
        (lambda x, e: x, "Nothing is changed"),
        (in_place, "writes into x_hat"),
        (lambda x, e: e[torch.cdist(x, e, p=1).argmin(-1)], "not the nearest embedding"),
    ],
)
def test_wrong_clamps(wrong, message):
    is_told(ex2_3, wrong, message)


# 2.4 hold(z_s, x, known, alpha_s, generator)


def by_the_package(z_s, x, known, alpha_s, generator=None):
    at = time_of(Sqrt(0.0), torch.full((len(x),), alpha_s, dtype=torch.float64))
    noisy = GaussianProcess(Sqrt(0.0)).corrupt(x, at, generator)
    return torch.where(known[..., None], noisy, z_s)


def at_known_places_only(z_s, x, known, alpha_s, generator=None):
    out = z_s.clone()
    noise = torch.randn(x[known].shape, generator=generator, dtype=x.dtype)
    out[known] = alpha_s**0.5 * x[known] + (1 - alpha_s) ** 0.5 * noise
    return out


@pytest.mark.parametrize("right", [by_the_package, at_known_places_only])
def test_right_holds(right):
    passes(ex2_4, right)


def hold_with(
    signal=lambda a: a**0.5, noise=lambda a: (1 - a) ** 0.5, shape=lambda x: x.shape, where=lambda known: known
):
    def hold(z_s, x, known, alpha_s, generator=None):
        eps = torch.randn(shape(x), generator=generator, dtype=x.dtype)
        return torch.where(where(known)[..., None], signal(alpha_s) * x + noise(alpha_s) * eps, z_s)

    return hold


def writes(z_s, x, known, alpha_s, generator=None):
    z_s.copy_(by_the_package(z_s, x, known, alpha_s, generator))
    return z_s


@pytest.mark.parametrize(
    "wrong, message",
    [
        (hold_with(lambda a: 1, lambda a: 0), "the clean vectors in"),
        (hold_with(noise=lambda a: 0), "without noise"),
        (hold_with(lambda a: a, lambda a: 1 - a), "Roots are missing"),
        (hold_with(noise=lambda a: 1 - a), "variance of the noise"),
        (hold_with(signal=lambda a: a), "squared signal"),
        (hold_with(lambda a: (1 - a) ** 0.5, lambda a: a**0.5), "swapped"),
        (hold_with(signal=lambda a: 1), "signal shrinks"),
        (hold_with(where=lambda known: ~known), "Known and free are swapped"),
        (hold_with(where=torch.ones_like), "Free places are changed"),
        (hold_with(shape=lambda x: (1, *x.shape[1:])), "One draw of noise"),
        (hold_with(shape=lambda x: (len(x), 1, x.shape[2])), "One draw of noise"),
        (hold_with(shape=lambda x: (*x.shape[:2], 1)), "One draw of noise"),
        (lambda *inputs: by_the_package(*inputs[:4]), "same generator"),
        (writes, "writes into z_s"),
        (hold_with(lambda a: 0), "the known vectors' mean must be"),
    ],
)
def test_wrong_holds(wrong, message):
    is_told(ex2_4, wrong, message)


# 2.5 three_times(schedule, D) -> (3,)


@pytest.fixture(scope="module")
def ex2_5():
    return lesson_02.ex2_5(toy_language(), sentences=256)


def test_the_reference_breaks_few_sentences(ex2_5):
    passes(ex2_5, three_calls.reference)
    assert "broken where the even grid breaks" in ex2_5.praise


def test_other_good_times_pass(ex2_5):
    passes(ex2_5, lambda schedule, D: [1, 0.6, 0.06])


@pytest.mark.parametrize(
    "times, message",
    [
        ([1, 2 / 3, 1 / 3], "Put the last call nearer to t = 0"),
        ([1, 0.64, 0.2], "Put the last call nearer to t = 0"),
        ([1, 0.85, 0.07], "Look at the time of the second call"),
        ([1, 0.02, 0.01], "decided in one leap"),
        ([1, 0.97, 0.02], "decided in one leap"),
        ([1, 0.5], "Give 3 times"),
        ([0.9, 0.5, 0.1], "The first time is 1"),
        ([1, 0.1, 0.5], "The times must fall"),
        ([1, 0.5, 0.0], "above 0"),
    ],
)
def test_wrong_times(ex2_5, times, message):
    is_told(ex2_5, lambda schedule, D: times, message)
