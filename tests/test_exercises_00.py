"""The exercises of lesson 00: right answers pass however they are written, and each usual mistake is named."""

import pytest
import torch
from judging import is_told, passes

from difflm_core.classroom.exercises import lesson_00
from difflm_core.classroom.exercises.lesson_00 import ex0_1, ex0_2, ex0_3, mend
from difflm_core.classroom.exercises.lesson_00.fill_hole import left_only, regardless
from difflm_core.data import toy_language
from difflm_core.samplers import ancestral, draw_from, sample_masked
from difflm_core.training.course import course_checkpoint

# 0.1 perplexity(p) -> number


@pytest.mark.parametrize(
    "right",
    [
        lambda p: torch.exp(torch.nn.functional.nll_loss(p.log()[:, None], torch.zeros(len(p), dtype=torch.long))),
        lambda p: float(p.prod() ** (-1 / len(p))),
        lambda p: 2 ** (-p.log2().mean()),
    ],
)
def test_other_perplexities(right):
    passes(ex0_1, right)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda p: (-p.log()).exp(), "One perplexity for each word"),
        (lambda p: (-p.log()).mean(0, keepdim=True).exp(), "Return one number"),
        (lambda p: None, "Does it end with `return`"),
        (lambda p: (-p.log()).mean(), "nats per word"),
        (lambda p: 1 / p.prod(), "the mean, not the sum"),
        (lambda p: p.log().mean().exp(), "*minus* the logarithm"),
        (lambda p: 1 / p.mean(), "averaged the probabilities"),
        (lambda p: (1 / p).mean(), "averaged 1/p"),
        (lambda p: torch.special.entr(p).sum().exp(), "formula of an entropy"),
        (lambda p: 2 ** (-p.log()).mean(), "the base 2"),
        (lambda p: (-p.log2()).mean().exp(), "Bits and exp"),
        (lambda p: p.max(), "the perplexity is"),
    ],
)
def test_wrong_perplexities(wrong, message):
    is_told(ex0_1, wrong, message)


# 0.2 random_noise(x, t, V, generator) -> z


def noise_with(coin=None, new=None, where=lambda coin, t: coin < t[:, None], put=torch.where):
    coin = coin or (lambda x, g: torch.rand(x.shape, generator=g))
    new = new or (lambda x, V, g: torch.randint(V, x.shape, generator=g))

    def random_noise(x, t, V, generator=None):
        return put(where(coin(x, generator), t), new(x, V, generator), x)

    return random_noise


def in_a_loop(x, t, V, generator=None):
    z = x.clone()
    for row in range(len(x)):
        hit = torch.bernoulli(t[row].expand(x.shape[1]), generator=generator).bool()
        z[row, hit] = torch.randint(V, (int(hit.sum()),), generator=generator)
    return z


def never_the_old_word(x, V, g):
    return (x + torch.randint(1, V, x.shape, generator=g)) % V


def ranks(x, g):
    return (torch.rand(x.shape, generator=g).argsort(1).argsort(1) + 0.5) / x.shape[1]


def into_x(hit, new, x):
    x[hit] = new[hit]
    return x


def test_another_right_noise():
    passes(ex0_2, in_a_loop)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (noise_with(put=into_x), "writes into x"),
        (noise_with(new=lambda x, V, g: torch.randint(V + 1, x.shape, generator=g)), "the mask's number"),
        (noise_with(new=lambda x, V, g: torch.full_like(x, V)), "the mask's number"),
        (noise_with(coin=lambda x, g: torch.rand(len(x), 1, generator=g)), "One coin decides"),
        (noise_with(coin=lambda x, g: torch.rand(1, x.shape[1], generator=g)), "One coin decides"),
        (noise_with(new=lambda x, V, g: torch.randint(V, (len(x), 1), generator=g)), "the same new word"),
        (noise_with(new=lambda x, V, g: torch.randint(V, (1,), generator=g)), "the same new word"),
        (noise_with(new=lambda x, V, g: torch.randint(V, x.shape[1:], generator=g)), "the same new word"),
        (noise_with(where=lambda coin, t: coin > t[:, None]), "Upside down"),
        (noise_with(where=lambda coin, t: coin < 0.5), "does not depend on the row's t"),
        (noise_with(new=never_the_old_word), "never stays what it was"),
        (lambda x, t, V, generator=None: noise_with()(x, t, V), "same generator"),
        (noise_with(where=lambda coin, t: coin < t[:, None] ** 2), "should differ"),
        (noise_with(new=lambda x, V, g: torch.randint(V // 2, x.shape, generator=g)), "evenly"),
        (lambda x, t, V, generator=None: x.float(), "whole numbers"),
        (lambda x, t, V, generator=None: None, "Return ids"),
        (noise_with(where=lambda coin, t: coin < t), "one entry for each row"),
        (noise_with(coin=ranks), "the number varies"),
        (noise_with(new=lambda x, V, g: torch.randint(V - 1, x.shape, generator=g)), "V - 1 is never drawn"),
        (noise_with(new=lambda x, V, g: torch.randint(1, V, x.shape, generator=g)), "Word 0 is never drawn"),
        (noise_with(new=lambda x, V, g: x[torch.randperm(len(x), generator=g)]), "evenly from all V words"),
    ],
)
def test_wrong_noises(wrong, message):
    is_told(ex0_2, wrong, message)


# 0.3 fill_hole(log_prob, x, i, V) -> (V,)


def tries_of(x, i, V):
    tries = x.repeat(V, 1)
    tries[:, i] = torch.arange(V)
    return tries


def one_at_a_time(log_prob, x, i, V):
    scores = []
    for v in range(V):
        sentence = x.clone()
        sentence[i] = v
        scores.append(log_prob(sentence[None])[0])
    scores = torch.stack(scores)
    return (scores - scores.logsumexp(0)).exp()


def into_the_sentence(log_prob, x, i, V):
    scores = []
    for v in range(V):
        x[i] = v
        scores.append(log_prob(x[None])[0])
    return torch.stack(scores).softmax(0)


def test_another_right_answer_for_a_hole():
    passes(ex0_3, one_at_a_time)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (into_the_sentence, "writes into x"),
        (lambda log_prob, x, i, V: log_prob(tries_of(x, i, V)), "log-probabilities of sentences"),
        (lambda log_prob, x, i, V: log_prob(tries_of(x, i, V)).exp(), "do not add up to 1"),
        (lambda log_prob, x, i, V: log_prob(tries_of(x, i, V)).log_softmax(0), "not log_softmax"),
        (lambda log_prob, x, i, V: (log_prob(tries_of(x, i, V)) / len(x)).softmax(0), "the sum, not the mean"),
        (lambda log_prob, x, i, V: left_only(x, i), "before the hole only"),
        (lambda log_prob, x, i, V: regardless(x, i), "in any sentence"),
        (lambda log_prob, x, i, V: log_prob(x.repeat(V, 1)).softmax(0), "equally likely"),
        (
            lambda log_prob, x, i, V: (p := log_prob(tries_of(x, i, V)).exp()) / p.sum(),
            "softmax, which subtracts the largest",
        ),
        (lambda log_prob, x, i, V: log_prob(torch.where(torch.arange(3) == i, V, x)[None]), "complete sentences"),
        (lambda log_prob, x, i, V: log_prob(tries_of(x, i, V)).softmax(0).argmax(), "a probability for each word"),
        (lambda log_prob, x, i, V: log_prob(tries_of(x, i, V)).softmax(0).numpy(), "Return a tensor"),
        (lambda log_prob, x, i, V: log_prob(tries_of(x, i, V)).softmax(0).flip(0), "the answer is"),
    ],
)
def test_wrong_answers_for_a_hole(wrong, message):
    is_told(ex0_3, wrong, message)


# 0.4 mend(model, drafts, mask_id, generator) -> text


@pytest.fixture(scope="module")
def ex0_4():
    return lesson_00.ex0_4(course_checkpoint("mdlm-tiny")[0], toy_language(), sentences=300)


def test_the_reference_mends_most_drafts(ex0_4):
    passes(ex0_4, mend.reference)
    assert "of the words were kept, in 6.0 calls" in ex0_4.praise


def mended(count, calls, choose=None, pick=draw_from):
    """Take back `count` words, chosen at random or by `choose`, and write them again in so many calls."""

    def attempt(model, drafts, mask_id, generator=None):
        score = (
            torch.rand(drafts.shape, generator=generator)
            if choose is None
            else choose(model, drafts, mask_id, generator)
        )
        rank = score.argsort(1, descending=True).argsort(1)
        z = drafts.masked_fill(rank < count, mask_id)
        for call in range(calls):
            here = (rank >= count * call // calls) & (rank < count * (call + 1) // calls)
            z = z.masked_scatter(here, pick(model(z)[here].softmax(-1), generator))
        return z

    return attempt


def rare_words_again_and_again(model, drafts, mask_id, generator=None):
    z = drafts
    for _ in range(4):
        nats = -model(z).log_softmax(-1).gather(-1, z[..., None])[..., 0]
        hidden = torch.zeros_like(z, dtype=torch.bool).scatter(1, nats.topk(2, 1).indices, True)
        p = model(z.masked_fill(hidden, mask_id))[hidden].softmax(-1)
        z = z.masked_scatter(hidden, draw_from(p, generator))
    return z


def into_the_drafts(model, drafts, mask_id, generator=None):
    drafts[:, 0] = 0
    return drafts


def afresh(model, drafts, mask_id, generator=None):
    return sample_masked(model, ancestral(8), drafts.shape, generator=generator).tokens


def favourite(model, drafts, mask_id, generator=None):
    return toy_language().encode("the great brown fox hops over the lazy dog in brown boots").expand(drafts.shape)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (into_the_drafts, "writes into the drafts"),
        (lambda model, drafts, mask_id, generator=None: drafts.clone(), "no better yet"),
        (lambda model, drafts, mask_id, generator=None: drafts[:, :6], "Return sentences shaped"),
        (lambda model, drafts, mask_id, generator=None: drafts.masked_fill(drafts == 0, mask_id), "Masks are left"),
        (lambda model, drafts, mask_id, generator=None: drafts - 1, "must lie in"),
        (afresh, "mend, do not write afresh"),
        (favourite, "mend, do not write afresh"),
        (mended(10, 10), "Too many network calls"),
        (mended(4, 4), "Better, but"),
        (rare_words_again_and_again, "rare words are taken back again"),
    ],
)
def test_wrong_mending(ex0_4, wrong, message):
    is_told(ex0_4, wrong, message)
