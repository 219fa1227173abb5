"""The exercises of lesson 03: right answers pass however they are written, and each usual mistake is named."""

import math

import pytest
import torch
from judging import is_told, passes

from difflm_core.classroom.exercises import lesson_03
from difflm_core.classroom.exercises.lesson_03 import ex3_1, ex3_2, ex3_3, ex3_4
from difflm_core.data import toy_language
from difflm_core.models.cross_attention import CrossAttention
from difflm_core.processes import GaussianProcess, ShiftedCosine, time_of
from difflm_core.samplers import sample_latents

COSINE = ShiftedCosine(1.0)


def shaped(alpha):
    return alpha[:, None, None]


# 3.1 v_to_x(z_t, v, alpha)


def by_the_process(z_t, v, alpha):
    return GaussianProcess(COSINE).to_x(z_t, v, time_of(COSINE, alpha), "v")


def by_rotation(z_t, v, alpha):
    angle = torch.arccos(alpha.sqrt())
    return torch.einsum("b,bnd->bnd", torch.cos(angle), z_t) - torch.einsum("b,bnd->bnd", torch.sin(angle), v)


@pytest.mark.parametrize("right", [by_the_process, by_rotation])
def test_right_ways_from_v_to_x(right):
    passes(ex3_1, right)


def levels(alpha):
    return shaped(alpha).sqrt(), (1 - shaped(alpha)).sqrt()


def mixed(first, second):
    """A wrong answer first(a, b) z_t + second(a, b) v."""
    return lambda z_t, v, alpha: first(*levels(alpha)) * z_t + second(*levels(alpha)) * v


@pytest.mark.parametrize(
    "wrong, message",
    [
        (mixed(lambda a, b: b, lambda a, b: a), "That is the noise"),
        (mixed(lambda a, b: a, lambda a, b: b), "The sign"),
        (mixed(lambda a, b: -a, lambda a, b: b), "That is -x"),
        (mixed(lambda a, b: a**2, lambda a, b: -(b**2)), "Roots are missing"),
        (mixed(lambda a, b: 1 / a, lambda a, b: -b / a), "as if it were the noise"),
        (mixed(lambda a, b: b, lambda a, b: -a), "The levels are swapped"),
        (lambda z_t, v, alpha: v, "v is not x"),
        (lambda z_t, v, alpha: z_t, "x exactly"),
        (lambda z_t, v, alpha: by_rotation(z_t, v, alpha)[0], "shaped like z_t"),
    ],
)
def test_wrong_ways_from_v_to_x(wrong, message):
    is_told(ex3_1, wrong, message)


# 3.2 look(z, h, mask)


def by_torch(z, h, mask):
    memory = torch.cat([z, h], 1)
    seen = torch.cat([torch.ones(z.shape[:2], dtype=torch.bool), mask], 1)[:, None]
    return torch.nn.functional.scaled_dot_product_attention(z, memory, memory, attn_mask=seen)


def by_loop(z, h, mask):
    out = []
    for latents, states, real in zip(z, h, mask):
        memory = torch.cat([latents, states[real]])
        out.append((latents @ memory.T / math.sqrt(z.shape[-1])).softmax(-1) @ memory)
    return torch.stack(out)


def by_the_package(z, h, mask):
    """CrossAttention with identity maps; its norms are taken out."""
    W = z.shape[-1]
    attention = CrossAttention(W, 1).double()
    attention.norm_q, attention.norm_k = torch.nn.Identity(), torch.nn.Identity()
    for linear in (attention.q, attention.out):
        linear.weight.data.copy_(torch.eye(W))
    attention.kv.weight.data.copy_(torch.eye(W).repeat(2, 1))
    return attention(z, torch.cat([z, h], 1), torch.cat([mask.new_ones(z.shape[:2]), mask], 1))


def by_exponentials(z, h, mask):
    memory, seen = torch.cat([z, h], 1), torch.cat([ones(z), mask], 1)
    weights = (z @ memory.transpose(1, 2) / math.sqrt(z.shape[-1])).exp() * seen[:, None]
    return weights @ memory / weights.sum(-1, keepdim=True)


@pytest.mark.parametrize("right", [by_torch, by_loop, by_the_package, by_exponentials])
def test_right_looks(right):
    passes(ex3_2, right)


def attention(z, memory, seen, scale=None):
    scores = z @ memory.transpose(1, 2) / (scale or math.sqrt(z.shape[-1]))
    return scores.masked_fill(~seen[:, None], -torch.inf).softmax(-1) @ memory


def ones(z):
    return torch.ones(z.shape[:2], dtype=torch.bool)


def over_the_latents(z, h, mask):
    memory, seen = torch.cat([z, h], 1), torch.cat([ones(z), mask], 1)
    scores = z @ memory.transpose(1, 2) / math.sqrt(z.shape[-1])
    return scores.masked_fill(~seen[:, None], -torch.inf).softmax(1) @ memory


def after_the_softmax(z, h, mask):
    memory, seen = torch.cat([z, h], 1), torch.cat([ones(z), mask], 1)
    return ((z @ memory.transpose(1, 2) / math.sqrt(z.shape[-1])).softmax(-1) * seen[:, None]) @ memory


def scores_of_zero(z, h, mask):
    memory, seen = torch.cat([z, h], 1), torch.cat([ones(z), mask], 1)
    return (z @ memory.transpose(1, 2) / math.sqrt(z.shape[-1]) * seen[:, None]).softmax(-1) @ memory


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda z, h, m: attention(z, torch.cat([z, h], 1), torch.cat([ones(z), ones(h)], 1)), "mask is not used"),
        (lambda z, h, m: attention(z, h, m), "Keys and values are [z; h]"),
        (lambda z, h, m: attention(z, torch.cat([z, h], 1), torch.cat([m, ones(z)], 1)), "at the wrong places"),
        (lambda z, h, m: attention(z, torch.cat([h, z], 1), torch.cat([ones(z), m], 1)), "in another order"),
        (lambda z, h, m: by_torch(z, h * m[..., None], torch.ones_like(m)), "set to zeros"),
        (over_the_latents, "the last dimension"),
        (scores_of_zero, "A score of 0 is not nothing"),
        (after_the_softmax, "no longer sum to 1"),
        (lambda z, h, m: attention(z, torch.cat([z, h], 1), torch.cat([ones(z), m], 1), 1.0), "not divided"),
        (lambda z, h, m: attention(z, torch.cat([z, h], 1), torch.cat([ones(z), ~m], 1)), "Inverted"),
        (lambda z, h, m: z + by_torch(z, h, m), "The residual"),
        (lambda z, h, m: by_torch(z, h, m)[:, :1], "one vector per latent"),
        (lambda z, h, m: attention(z, torch.cat([z, h], 1), torch.cat([ones(z), m], 1), 4.0), "not right yet: off"),
    ],
)
def test_wrong_looks(wrong, message):
    is_told(ex3_2, wrong, message)


# 3.3 carry(process, net, step, times, z, generator)


def right_walk(process, net, step, times, z, generator=None, kept=None):
    for i, now in enumerate(times):
        t = torch.ones(len(z)) * now
        kept = process.to_x(z, net(z, t, kept), t, "v")
        if i + 1 < len(times):
            z = step(process, z, kept, torch.ones(len(z)) * times[i + 1], t, generator)
    return kept


def from_zeros(process, net, step, times, z, generator=None):
    return right_walk(process, net, step, times, z, generator, torch.zeros_like(z))


@pytest.mark.parametrize("right", [right_walk, from_zeros])
def test_right_walks(right):
    passes(ex3_3, right)


def test_the_sampler_of_the_package_is_this_walk():
    process, shape = GaussianProcess(COSINE), (3, 2, 4)

    def net(z_t, t, previous=None):
        return 0.5 * z_t + (0 if previous is None else 0.2 * previous) + t[:, None, None].float()

    def step(process, z_t, x_hat, s, t, generator=None):
        return process.step(z_t, x_hat, s, t, generator)

    generator = torch.Generator().manual_seed(0)
    core = sample_latents(process, net, shape, 5, generator, "v", step)
    generator = torch.Generator().manual_seed(0)
    z = process.prior(shape, generator)
    times = [1 - i / 5 for i in range(5)]
    torch.testing.assert_close(right_walk(process, net, step, times, z, generator), core.x, rtol=1e-4, atol=1e-5)


def walk(previous_of, ask_twice=False, result=lambda z, v, x_hat: x_hat):
    """A sampler with a mistake: `previous_of(v, x_hat, first x_hat)` is what it hands on."""

    def carry(process, net, step, times, z, generator=None):
        kept = first = None
        for now, following in zip(times, [*times[1:], None]):
            t = torch.full((len(z),), now)
            if ask_twice:
                kept = process.to_x(z, net(z, t, None), t, "v")
            v = net(z, t, kept)
            x_hat = process.to_x(z, v, t, "v")
            first = x_hat if first is None else first
            kept = previous_of(v, x_hat, first)
            if following is not None:
                z = step(process, z, x_hat, torch.full((len(z),), following), t, generator)
        return result(z, v, x_hat)

    return carry


def one_step_too_many(process, net, step, times, z, generator=None):
    x_hat = right_walk(process, net, step, times, z, generator)
    last = torch.full((len(z),), times[-1])
    return step(process, z, x_hat, 0.5 * last, last, generator)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (walk(lambda v, x, first: None), "never told"),
        (walk(lambda v, x, first: x, ask_twice=True), "Two calls per step"),
        (walk(lambda v, x, first: v), "which is v"),
        (walk(lambda v, x, first: first), "the first estimate"),
        (walk(lambda v, x, first: x, result=lambda z, v, x: z), "You return z"),
        (walk(lambda v, x, first: x, result=lambda z, v, x: v), "You return v"),
        (lambda p, n, s, times, z, g=None: right_walk(p, n, s, times, z, g, z), "nothing is known"),
        (lambda p, n, s, times, z, g=None: right_walk(p, n, s, times, z), "same generator"),
        (lambda p, n, s, times, z, g=None: None, "Return the last estimate"),
        (lambda p, n, s, times, z, g=None: right_walk(p, n, s, times[:-1], z, g), "4 times ask"),
        (lambda p, n, s, times, z, g=None: right_walk(p, n, s, [0.9, 0.6, 0.3, 0.1], z, g), "its own time"),
        (one_step_too_many, "the last x_hat"),
    ],
)
def test_wrong_walks(wrong, message):
    is_told(ex3_3, wrong, message)


# 3.4 guided(process, net, z_t, t, previous, label, weight)


def answers(process, net, z_t, t, previous, label, none_previous=..., null=None):
    none = torch.full_like(label, net.null_label if null is None else null)
    seen = previous if none_previous is ... else none_previous
    v = net(z_t, t, previous, label), net(z_t, t, seen, none)
    return tuple(process.to_x(z_t, each, t, "v") for each in v)


def by_difference(process, net, z_t, t, previous, label, weight):
    told, none = answers(process, net, z_t, t, previous, label)
    return none + weight * (told - none)


def by_mixing_v(process, net, z_t, t, previous, label, weight):
    none = torch.full_like(label, net.null_label)
    v = torch.lerp(net(z_t, t, previous, none), net(z_t, t, previous, label), weight)
    return process.to_x(z_t, v, t, "v")


def in_one_batch(process, net, z_t, t, previous, label, weight):
    labels = torch.cat([label, torch.full_like(label, net.null_label)])
    v = net(*(torch.cat([value, value]) for value in (z_t, t, previous)), labels)
    told, none = process.to_x(torch.cat([z_t, z_t]), v, torch.cat([t, t]), "v").chunk(2)
    return weight * told + (1 - weight) * none


@pytest.mark.parametrize("right", [by_difference, by_mixing_v, in_one_batch])
def test_right_guidance(right):
    passes(ex3_4, right)


def from_answers(mix, **how):
    return lambda p, net, z, t, previous, label, w: mix(*answers(p, net, z, t, previous, label, **how), w)


def still_v(process, net, z_t, t, previous, label, w):
    none = torch.full_like(label, net.null_label)
    return (1 - w) * net(z_t, t, previous, none) + w * net(z_t, t, previous, label)


def asked_three_times(process, net, z_t, t, previous, label, w):
    net(z_t, t, previous, label)
    return by_difference(process, net, z_t, t, previous, label, w)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (from_answers(lambda told, none, w: w * none + (1 - w) * told), "The two are swapped"),
        (from_answers(lambda told, none, w: (1 + w) * told - w * none), "another convention"),
        (still_v, "it is still v"),
        (from_answers(lambda told, none, w: (1 - w) * none + w * told, none_previous=None), "does not read `previous`"),
        (from_answers(lambda told, none, w: (1 - w) * none + w * told, null=0), "a class like any other"),
        (from_answers(lambda told, none, w: none + w * told), "must sum to 1"),
        (from_answers(lambda told, none, w: told), "The weight is not used"),
        (from_answers(lambda told, none, w: none), "At w = 1"),
        (asked_three_times, "asks the network twice"),
        (lambda p, n, z, t, previous, label, w: by_difference(p, n, z, t, None, label, w), "Neither answer reads"),
        (lambda p, n, z, t, previous, label, w: n(z, t, previous, n.null_label), "a label for each row"),
        (lambda p, n, z, t, previous, label, w: n(z, t, previous, None), "a label for each row"),
    ],
)
def test_wrong_guidance(wrong, message):
    is_told(ex3_4, wrong, message)


# 3.5 content(own, other, truth)


@pytest.fixture(scope="module")
def open_exercise():
    return lesson_03.ex3_5(toy_language())


def shares(own, other, truth):
    return (own == truth).double().mean(), (other == truth).double().mean()


def by_place(own, other, truth):
    """Chance place by place."""
    kept, chance = ((texts == truth).double().mean(0) for texts in (own, other))
    return float(((kept - chance) / (1 - chance)).mean())


def as_errors(own, other, truth):
    return 1 - (own != truth).double().mean() / (other != truth).double().mean()


@pytest.mark.parametrize("right", [by_place, as_errors])
def test_right_scores(open_exercise, right):
    passes(open_exercise, right)
    assert "deaf" in open_exercise.praise


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda own, other, truth: shares(own, other, truth)[0], "Subtract what chance gives"),
        (lambda own, other, truth: toy_language().grammatical(own).double().mean(), "That is fluency"),
        (lambda own, other, truth: torch.sub(*shares(own, other, truth)), "divide by 1 minus chance"),
        (lambda own, other, truth: (own == truth).all(1).double().mean(), "Count words"),
        (lambda own, other, truth: 1.0, "must score 0"),
        (lambda own, other, truth: 0.0, "must score 1"),
        (lambda own, other, truth: (own == truth).double().mean(1), "one number for all texts"),
        (lambda own, other, truth: float("nan"), "a finite number"),
        (lambda own, other, truth: as_errors(own, other, truth) ** 6, "between 0.35 and 0.9"),
    ],
)
def test_wrong_scores(open_exercise, wrong, message):
    is_told(open_exercise, wrong, message)


@pytest.mark.parametrize("number", range(1, 5))
def test_references_pass_their_own_check(number):
    check = getattr(lesson_03, f"ex3_{number}")
    passes(check, check.reference)
    assert check.hints and check.praise


def test_the_open_reference_passes(open_exercise):
    passes(open_exercise, open_exercise.reference)
