"""The exercises of lesson 10: right answers pass however they are written, and each usual mistake is named."""

import pytest
import torch
import torch.nn.functional as F
from judging import is_told, passes

from difflm_core.classroom.exercises import lesson_10
from difflm_core.classroom.exercises.lesson_10 import (
    choose_trials,
    eight_calls,
    ex10_1,
    ex10_2,
    ex10_3,
    ex10_4,
    labels_trials,
)
from difflm_core.data import language_batches, toy_language
from difflm_core.models import ErrorPredictor
from difflm_core.samplers import (
    Sample,
    ancestral,
    confidence_remask,
    draw,
    gstar,
    gumbel_top_k,
    random_remask,
    remask_count,
    remdm_posterior,
    sample_masked,
    sample_remasking,
    sigma_max,
    steps_for_calls,
)
from difflm_core.training.course import course_checkpoint
from difflm_core.training.error_predictor import train_error_predictor

# 10.1 largest_sigma(alpha_t, alpha_s)


@pytest.mark.parametrize(
    "right",
    [
        sigma_max,
        lambda at, as_: ((1 - as_) / at).clamp_max(1),
        lambda at, as_: torch.where(at > 0, torch.minimum((1 - as_) / at.clamp_min(1e-9), torch.ones_like(at)), 1.0),
    ],
)
def test_right_bounds(right):
    passes(ex10_1, right)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda at, as_: (1 - as_) / at, "Values above 1"),
        (lambda at, as_: ((1 - as_) / at).clamp_min(1), "take the smaller"),
        (lambda at, as_: 1 - as_, "star step's sigma"),
        (lambda at, as_: (as_ - at) / at, "forward-backward"),
        (lambda at, as_: torch.clamp((as_ - at) / at, 0, 1), "forward-backward"),
        (lambda at, as_: (1 - as_) / (1 - at), "MDLM leaves masked"),
        (lambda at, as_: ((1 - at) / as_).clamp_max(1), "are swapped"),
        (lambda at, as_: 1.0 + 0 * at, "1 is not always allowed"),
        (lambda at, as_: 1 - as_ / at, "rho >= 0"),
        (lambda at, as_: 0 * at / at, "NaN"),
        (lambda at, as_: 0.5 * sigma_max(at, as_), "the bound is"),
    ],
)
def test_wrong_bounds(wrong, message):
    is_told(ex10_1, wrong, message)


# 10.2 star_step(z, logits, s, t, mask_id, generator)


def by_the_posterior(z, logits, s, t, mask_id, generator=None):
    """ReMDM's step with sigma = 1 - alpha_s."""
    alpha_t, alpha_s = (torch.tensor(1.0 - time, dtype=torch.float64) for time in (t, s))
    keep, reveal, _ = remdm_posterior(alpha_t, alpha_s, 1 - alpha_s)
    u = torch.rand(z.shape, generator=generator)
    guess = draw(logits.flatten(0, 1), generator).view(z.shape)
    return torch.where(z == mask_id, torch.where(u < reveal, guess, mask_id), torch.where(u < keep, z, mask_id))


def drawing_only_what_survives(z, logits, s, t, mask_id, generator=None):
    out = z.clone()
    out[torch.bernoulli(torch.full(z.shape, s), generator=generator).bool()] = mask_id + 1
    here = (z == mask_id) & (out == mask_id)
    out[here] = draw(logits[here], generator)
    return out.clamp_max(mask_id)


@pytest.mark.parametrize("right", [by_the_posterior, drawing_only_what_survives])
def test_right_star_steps(right):
    passes(ex10_2, right)


def star_with(stay=lambda s, t: 1 - s, reveal=lambda s, t: 1 - s, guess=None, shape=lambda z: z.shape):
    def star_step(z, logits, s, t, mask_id, generator=None):
        new = draw(logits.flatten(0, 1), generator).view(z.shape) if guess is None else guess(logits, generator)
        u = torch.rand(shape(z), generator=generator).expand(z.shape)
        shown = torch.where(z == mask_id, u < reveal(s, t), u < stay(s, t))
        return torch.where(shown, torch.where(z == mask_id, new, z), mask_id)

    return star_step


def always(s, t):
    return 1.0


def ancestral_share(s, t):
    return (t - s) / t


def in_place(z, logits, s, t, mask_id, generator=None):
    z.copy_(by_the_posterior(z, logits, s, t, mask_id, generator))
    return z


def redraws_everything(z, logits, s, t, mask_id, generator=None):
    draft = draw(logits.flatten(0, 1), generator).view(z.shape)
    return torch.where(torch.rand(z.shape, generator=generator) < s, mask_id, draft)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (star_with(stay=always, reveal=ancestral_share), "That is MDLM's step"),
        (star_with(stay=always), "Only the new words"),
        (star_with(reveal=always), "Only the old words"),
        (star_with(reveal=ancestral_share), "not made up for"),
        (star_with(lambda s, t: 1 - t, lambda s, t: 1 - t), "noise the draft to t"),
        (star_with(lambda s, t: s, lambda s, t: s), "swapped"),
        (star_with(lambda s, t: 1 - t + s, lambda s, t: 1 - t + s), "with probability t - s"),
        (star_with(lambda s, t: 1 - s / t, lambda s, t: 1 - s / t), "with probability s/t"),
        (star_with(guess=lambda logits, g: draw(logits.softmax(-1).flatten(0, 1), g).view(logits.shape[:2])), "twice"),
        (star_with(always, always), "you return the draft"),
        (star_with(guess=lambda logits, g: logits.argmax(-1)), "argmax"),
        (star_with(guess=lambda logits, g: torch.randint(5, logits.shape[:2], generator=g)), "uniformly random"),
        (star_with(shape=lambda z: (len(z), 1)), "One coin"),
        (star_with(shape=lambda z: (1, z.shape[1])), "One coin"),
        (redraws_everything, "rewrites visible words"),
        (in_place, "writes into z"),
        (lambda *inputs: by_the_posterior(*inputs[:5]), "same generator"),
        (lambda *inputs: by_the_posterior(*inputs)[:, :3], "another shape"),
        (star_with(lambda s, t: 1 - s / 2, lambda s, t: 1 - s / 2), "the share of visible tokens that stay"),
    ],
)
def test_wrong_star_steps(wrong, message):
    is_told(ex10_2, wrong, message)


# 10.3 choose(score, s, temperature, free, generator)


def by_the_package(score, s, temperature, free, generator=None):
    count = remask_count(torch.tensor(1.0 - s, dtype=torch.float64), free.sum(1))
    return gumbel_top_k(score, count, temperature, free, generator)


def one_by_one(score, s, temperature, free, generator=None):
    """torch.multinomial draws without replacement in just these proportions."""
    where = torch.zeros_like(free)
    for kind in (0, 1):
        rows, n = slice(kind, None, 2), int(free[kind].sum())
        count = int(torch.tensor(s * n).ceil())
        weight = (score[rows] / temperature).exp() * free[rows]
        if count:
            places = torch.multinomial(weight, count, replacement=False, generator=generator)
            where[rows] = torch.zeros_like(where[rows]).scatter(1, places, True)
    return where


@pytest.mark.parametrize("right", [by_the_package, one_by_one])
def test_right_choices(right):
    passes(ex10_3, right)


def gumbel(shape, generator):
    return -(-torch.rand(shape, generator=generator, dtype=torch.float64).log()).log()


def choose_with(
    count=lambda s, free: (s * free.sum(1)).ceil(),
    key=lambda score, tau, noise: score / tau + noise,
    noise=gumbel,
    forbid=lambda key, free: key.masked_fill(~free, -torch.inf),
):
    def choose(score, s, temperature, free, generator=None):
        scored = forbid(key(score, temperature, noise(score.shape, generator)), free)
        return scored.argsort(1, descending=True).argsort(1) < count(s, free)[:, None]

    return choose


def with_replacement(score, s, temperature, free, generator=None):
    weight = (score / temperature).exp() * free
    places = torch.multinomial(weight, 6, replacement=True, generator=generator)
    counts = (s * free.sum(1)).ceil()
    where = torch.zeros_like(free)
    for j in range(6):
        where |= F.one_hot(places[:, j], 6).bool() & (j < counts)[:, None]
    return where


def coins(score, s, temperature, free, generator=None):
    return (torch.rand(score.shape, generator=generator) < s) & free


def the_order_itself(score, s, temperature, free, generator=None):
    key = (score / temperature + gumbel(score.shape, generator)).masked_fill(~free, -torch.inf)
    return key.argsort(1, descending=True) < (s * free.sum(1, keepdim=True)).ceil()


def places_not_a_mask(score, s, temperature, free, generator=None):
    return (score / temperature + gumbel(score.shape, generator)).masked_fill(~free, -torch.inf).topk(3).indices


@pytest.mark.parametrize(
    "wrong, message",
    [
        (places_not_a_mask, "not the places' numbers"),
        (choose_with(forbid=lambda key, free: key), "A given word is taken back"),
        (choose_with(lambda s, free: (s * free.sum(1)).floor()), "Rounded down"),
        (choose_with(lambda s, free: (s * free.sum(1)).long()), "Rounded down"),
        (choose_with(lambda s, free: (s * free.sum(1)).round()), "Rounded to the nearest"),
        (choose_with(lambda s, free: (s * torch.full((len(free),), 6)).ceil()), "counts? is taken from all"),
        (choose_with(lambda s, free: ((1 - s) * free.sum(1)).ceil()), "1 - s of the places"),
        (with_replacement, "drawn twice"),
        (coins, "tosses its own coin"),
        (choose_with(noise=lambda shape, g: 0), "No chance at all"),
        (choose_with(noise=lambda shape, g: gumbel((1, shape[1]), g)), "share one draw"),
        (choose_with(key=lambda score, tau, noise: score * tau + noise), "multiply the scores"),
        (choose_with(key=lambda score, tau, noise: (score + noise) / tau), "temperature changes nothing"),
        (choose_with(key=lambda score, tau, noise: -score / tau + noise), "sign is wrong"),
        (choose_with(key=lambda score, tau, noise: noise), "scores are not used"),
        (the_order_itself, "argsort of the order"),
        (choose_with(key=lambda score, tau, noise: -(score / tau + noise)), "smallest keys"),
        (choose_with(key=lambda score, tau, noise: (score / tau).softmax(1) + noise), "through a softmax"),
        (choose_with(noise=lambda shape, g: torch.rand(shape, generator=g)), "noise is uniform"),
        (choose_with(noise=lambda shape, g: torch.randn(shape, generator=g)), "noise is Gaussian"),
        (choose_with(noise=lambda shape, g: -gumbel(shape, g)), "minus sign is lost"),
        (lambda *inputs: by_the_package(*inputs[:4]), "same generator"),
        (lambda *inputs: by_the_package(*inputs).double(), "Return True where"),
    ],
)
def test_wrong_choices(wrong, message):
    is_told(ex10_3, wrong, message.replace("counts?", "The count"))


def test_the_inclusions_of_the_trial_are_those_of_an_exact_count():
    for s in (0.4, 0.6):
        assert choose_trials.inclusion(1.0, s=s).sum(1).tolist() == pytest.approx(choose_trials.COUNTS[s])


# 10.4 draft_and_labels(model, x, t, mask_id, generator)


def with_scattered_draws(model, x, t, mask_id, generator=None):
    z = x.masked_fill(torch.rand(x.shape, generator=generator) < t[:, None], mask_id)
    here = z == mask_id
    draft = z.masked_scatter(here, draw(model(z, t)[here], generator))
    return draft, (draft != x).float()


def test_right_labels():
    passes(ex10_4, with_scattered_draws)
    passes(ex10_4, lambda *inputs: list(with_scattered_draws(*inputs)))


def made_with(
    label=lambda x, z, draft, m: (draft != x).float(),
    guess=lambda logits, g: draw(logits.flatten(0, 1), g).view(logits.shape[:2]),
    mask=lambda x, t, g: torch.rand(x.shape, generator=g) < t[:, None],
    put=lambda x, z, guess, m: torch.where(m, guess, x),
    shown=lambda x, z: z,
):
    def make(model, x, t, mask_id, generator=None):
        m = mask(x, t, generator)
        z = torch.where(m, mask_id, x)
        draft = put(x, z, guess(model(shown(x, z), t), generator), m)
        return draft, label(x, z, draft, m)

    return make


def writes_into_x(model, x, t, mask_id, generator=None):
    here = torch.rand(x.shape, generator=generator) < t[:, None]
    x[here] = mask_id
    draft = x.masked_scatter(here, draw(model(x, t)[here], generator))
    return draft, draft != x


def own_times(model, x, t, mask_id, generator=None):
    return made_with()(model, x, torch.rand(len(x), generator=generator), mask_id, generator)


def two_steps(model, x, t, mask_id, generator=None):
    m = torch.rand(x.shape, generator=generator) < t[:, None]
    z = torch.where(m, mask_id, x)
    for share in (0.5, 1.0):
        guess = draw(model(z, t).flatten(0, 1), generator).view(x.shape)
        z = torch.where((z == mask_id) & (torch.rand(x.shape, generator=generator) < share), guess, z)
    return z, (z != x).float()


V = labels_trials.V


@pytest.mark.parametrize(
    "wrong, message",
    [
        (made_with(shown=lambda x, z: x), "given x itself"),
        (made_with(lambda x, z, draft, m: (draft != x)[m]), "Labels are missing"),
        (made_with(lambda x, z, draft, m: (draft != x).float().masked_fill(~m, -100.0)), "0 or 1 at every position"),
        (made_with(lambda x, z, draft, m: m), "every drafted word wrong"),
        (made_with(lambda x, z, draft, m: draft != z), "every drafted word wrong"),
        (made_with(lambda x, z, draft, m: draft == x), "upside down"),
        (made_with(lambda x, z, draft, m: ~m), "mark the kept words"),
        (made_with(lambda x, z, draft, m: ~m | (draft != x)), "Kept words are labelled 1"),
        (made_with(put=lambda x, z, guess, m: z), "masks in the draft"),
        (made_with(put=lambda x, z, guess, m: guess), "Visible words are rewritten"),
        (two_steps, "Several network calls"),
        (writes_into_x, "writes into x"),
        (own_times, "no times of your own"),
        (lambda *inputs: made_with()(*inputs)[::-1], "return the draft first"),
        (made_with(guess=lambda logits, g: draw(logits.softmax(-1).flatten(0, 1), g).view(logits.shape[:2])), "twice"),
        (made_with(mask=lambda x, t, g: torch.rand(x.shape, generator=g) > t[:, None]), "probability 1 - t"),
        (
            made_with(mask=lambda x, t, g: (torch.rand(len(x), 1, generator=g) < t[:, None]).expand(x.shape)),
            "One coin",
        ),
        (made_with(guess=lambda logits, g: logits.argmax(-1)), "argmax"),
        (made_with(guess=lambda logits, g: torch.randint(V, logits.shape[:2], generator=g)), "are random"),
        (lambda *inputs: made_with()(*inputs[:4]), "same generator"),
        (lambda *inputs: made_with()(*inputs)[0], "Return two tensors"),
    ],
)
def test_wrong_labels(wrong, message):
    is_told(ex10_4, wrong, message)


# 10.5 my_sampler(denoiser, error_predictor, shape, generator) -> Sample


LANGUAGE = toy_language()


@pytest.fixture(scope="module")
def ex10_5():
    denoiser, _ = course_checkpoint("mdlm-tiny")
    predictor, generator = ErrorPredictor.whole(denoiser), torch.Generator().manual_seed(0)
    data = language_batches(LANGUAGE, 128, generator)
    train_error_predictor(predictor, denoiser, data, 120, generator=generator, progress=False)
    return lesson_10.ex10_5(denoiser, predictor, LANGUAGE, sentences=500)


@pytest.mark.slow
def test_the_reference_breaks_few_sentences(ex10_5):
    passes(ex10_5, eight_calls.reference)
    assert "nats likelier" in ex10_5.praise


def by_rule(make, calls=8):
    def my_sampler(denoiser, error_predictor, shape, generator=None):
        rule = make(error_predictor)
        return sample_remasking(denoiser, rule, steps_for_calls(rule, calls), shape, generator=generator)

    return my_sampler


def forgets_the_predictor(denoiser, error_predictor, shape, generator=None):
    out = eight_calls.reference(denoiser, error_predictor, shape, generator)
    return Sample(out.tokens, out.network_calls - 2)


def order_of_lesson_8(denoiser, error_predictor, shape, generator=None):
    """Worked out by hand for the places as they were."""
    z = torch.full(shape, denoiser.V)
    for group in ([8, 10], [3, 7], [0, 1, 4, 5, 9], [2, 6, 11]):
        z[:, group] = draw(denoiser(z, None)[:, group].flatten(0, 1), generator).view(shape[0], -1)
    return Sample(z, torch.full(shape[:1], 4))


def plain(denoiser, error_predictor, shape, generator=None):
    return sample_masked(denoiser, ancestral(6), shape, generator=generator)


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong, message",
    [
        (by_rule(lambda g: gstar(g, 0.6), calls=12), "Too many network calls"),
        (forgets_the_predictor, "error predictor as well"),
        (by_rule(lambda g: confidence_remask(0.9)), "prefers the usual"),
        (by_rule(lambda g: random_remask(1.0)), "Better, but"),
        (plain, "no better yet"),
        (order_of_lesson_8, "ask for at most 40% as many"),
        (lambda d, g, shape, gen: plain(d, g, shape, gen).tokens, "Return a Sample"),
        (lambda d, g, shape, gen: plain(d, g, (shape[0], 6), gen), "must be shaped"),
        (lambda d, g, shape, gen: Sample(LANGUAGE.sample(shape[0], generator=gen), 0), "never asks the denoiser"),
        (
            lambda d, g, shape, gen: (plain(d, g, shape, gen), Sample(LANGUAGE.sample(shape[0], generator=gen), 8))[1],
            "Every word must be drawn",
        ),
    ],
)
def test_wrong_samplers(ex10_5, wrong, message):
    is_told(ex10_5, wrong, message)
