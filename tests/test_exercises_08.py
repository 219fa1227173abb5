"""The exercises of lesson 08: right answers pass however they are written, and each usual mistake is named."""

import math

import pytest
import torch
import torch.nn.functional as F
from judging import is_told, passes

from difflm_core.classroom.checks import CRASHED
from difflm_core.classroom.exercises import lesson_08
from difflm_core.classroom.exercises.lesson_08 import ex8_1, ex8_2, ex8_3, ex8_4, few_calls, training_loss
from difflm_core.classroom.exercises.spies import Spy
from difflm_core.data.toy_language import toy_language
from difflm_core.objectives import masked_nelbo, stratified_times
from difflm_core.processes import masked
from difflm_core.samplers import Sample, ancestral, confidence, draw, sample_masked


def id_of(value):
    return value.__name__ if callable(value) else str(value)[:30]


# 8.1 weight(schedule, t)


def log_derivative(schedule, t):
    """The weight is also -d/dt log(1 - alpha)... with the sign of a rate: (1 - alpha)' / (1 - alpha)."""
    t = t.clone().requires_grad_()
    return torch.autograd.grad(torch.log(1 - schedule.alpha(t)).sum(), t)[0]


def one_by_one(schedule, t):
    return torch.stack([schedule.dalpha(entry).abs() / (1 - schedule.alpha(entry)) for entry in t])


def central_difference(schedule, t, h=1e-6):
    return (schedule.alpha(t - h) - schedule.alpha(t + h)) / (2 * h) / (1 - schedule.alpha(t))


@pytest.mark.parametrize("right", [log_derivative, one_by_one, central_difference], ids=id_of)
def test_right_weights(right):
    passes(ex8_1, right)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda schedule, t: 1, "there is none"),
        (lambda schedule, t: torch.ones_like(t), "there is none"),
        (lambda schedule, t: 1 / t, "linear schedule only"),
        (lambda schedule, t: schedule.dalpha(t) / (1 - schedule.alpha(t)), "sign is wrong"),
        (lambda schedule, t: 1 / (1 - schedule.alpha(t)), "derivative is missing"),
        (lambda schedule, t: -schedule.dalpha(t) / schedule.alpha(t), "divided by alpha"),
        (lambda schedule, t: -schedule.dalpha(t), "did not divide"),
        (lambda schedule, t: t, "On the schedule Linear at t = 0.5 the weight is 2.000, yours is 0.500"),
        (lambda schedule, t: -schedule.dalpha(t) / (1 - schedule.alpha(t)).clamp_min(1e-3), "Cubic at t = 0.05"),
        (lambda schedule, t: (1 / t).mean(), "shaped like t"),
    ],
)
def test_wrong_weights(wrong, message):
    is_told(ex8_1, wrong, message)


# 8.2 training_loss(model, x, mask_id, generator)


def loss_with(weigh, mask=lambda x, t, g: torch.rand(x.shape, generator=g) < t[:, None], times=None):
    """A training loss whose last line is weigh(nats, is_masked, t), with nats and is_masked (B, L) and t (B,)."""

    def loss(model, x, mask_id, generator=None):
        t = torch.rand(len(x), generator=generator) if times is None else times(len(x), generator)
        is_masked = mask(x, t, generator)
        logits = model(torch.where(is_masked, mask_id, x), t)
        nats = -logits.log_softmax(-1).gather(-1, x[..., None])[..., 0]
        return weigh(nats, is_masked, t[:, None])

    return loss


def right_weigh(nats, is_masked, t):
    return torch.where(is_masked, nats / t, 0.0).mean()


def with_rows_chosen_first(model, x, mask_id, generator=None):
    t = stratified_times(len(x), generator)
    z = x.clone()
    z[torch.rand(x.shape, generator=generator) < t[:, None]] = mask_id
    rows = z == mask_id
    nats = F.cross_entropy(model(z, t)[rows], x[rows], reduction="none")
    return (nats / t[:, None].expand(x.shape)[rows]).sum() / x.numel()


def with_ignored_targets(model, x, mask_id, generator=None):
    t = 1 - torch.rand(len(x), 1, generator=generator)  # (0, 1], as a column
    z = torch.where(torch.bernoulli(t.expand(x.shape), generator=generator).bool(), mask_id, x)
    target = x.masked_fill(z != mask_id, -100)
    nats = F.cross_entropy(model(z, t[:, 0]).transpose(1, 2), target, reduction="none")
    return (nats / t).sum(1).mean() / x.shape[1]


def with_a_floor_under_t(model, x, mask_id, generator=None):
    t = torch.rand(len(x), generator=generator).clamp_min(1e-3)
    return loss_with(right_weigh, times=lambda B, g: t)(model, x, mask_id, generator)


def as_llada(model, x, mask_id, generator=None, eps=1e-3):
    """t is shown to the network, but tokens are masked with probability (1 - eps) t + eps."""
    t = torch.rand(len(x), generator=generator)
    p = ((1 - eps) * t + eps)[:, None].expand(x.shape)
    z = torch.where(torch.rand(x.shape, generator=generator) < p, mask_id, x)
    rows = z == mask_id
    return (F.cross_entropy(model(z, t)[rows], x[rows], reduction="none") / p[rows]).sum() / x.numel()


def through_the_core(objective):
    def by_core(model, x, mask_id, generator=None):
        t = torch.rand(len(x), generator=generator)
        return objective(masked(mask_id), model, x, t, generator).mean()

    return by_core


def by_count(model, x, mask_id, generator=None):
    """Exactly n masks, n uniform on 1..L: then n/L is the time."""
    B, L = x.shape
    t = torch.randint(1, L + 1, (B,), generator=generator) / L
    place = torch.rand(B, L, generator=generator).argsort(1).argsort(1)
    return loss_with(right_weigh, lambda x, t, g: place < (t * L).round()[:, None], lambda B, g: t)(model, x, mask_id)


@pytest.mark.parametrize(
    "right",
    [
        loss_with(right_weigh),
        loss_with(right_weigh, times=stratified_times),
        with_rows_chosen_first,
        with_ignored_targets,
        with_a_floor_under_t,
        as_llada,
        through_the_core(masked_nelbo),
        by_count,
    ],
    ids=id_of,
)
def test_right_losses(right):
    passes(ex8_2, right)


def leaks(model, x, mask_id, generator=None):
    return loss_with(right_weigh)(lambda z, t: model(x, t), x, mask_id, generator)


def writes_into_x(model, x, mask_id, generator=None):
    target, t = x.clone(), torch.rand(len(x), generator=generator)
    x[torch.rand(x.shape, generator=generator) < t[:, None]] = mask_id
    nats = F.cross_entropy(model(x, t).transpose(1, 2), target, reduction="none")
    return right_weigh(nats, x == mask_id, t[:, None])


def writes_into_x_and_aims_at_it(model, x, mask_id, generator=None):
    t = torch.rand(len(x), generator=generator)
    x[torch.rand(x.shape, generator=generator) < t[:, None]] = mask_id
    nats = F.cross_entropy(model(x, t).transpose(1, 2), x, reduction="none")
    return right_weigh(nats, x == mask_id, t[:, None])


def aims_at_z(model, x, mask_id, generator=None):
    t = torch.rand(len(x), generator=generator)
    z = torch.where(torch.rand(x.shape, generator=generator) < t[:, None], mask_id, x)
    return right_weigh(F.cross_entropy(model(z, t).transpose(1, 2), z, reduction="none"), z == mask_id, t[:, None])


def without_the_generator(model, x, mask_id, generator=None):
    return loss_with(right_weigh)(model, x, mask_id, None)


def one_scalar_t(model, x, mask_id, generator=None):
    t = torch.rand(1, generator=generator)
    z = torch.where(torch.rand(x.shape, generator=generator) < t, mask_id, x)
    return right_weigh(F.cross_entropy(model(z, t).transpose(1, 2), x, reduction="none"), z == mask_id, t)


def masked_less(x, t, generator):
    return torch.rand(x.shape, generator=generator) > t[:, None]


def draws_t_twice(model, x, mask_id, generator=None):
    again = torch.rand(len(x), generator=generator)
    return loss_with(right_weigh)(lambda z, t: model(z, again), x, mask_id, generator)


def probabilities_for_logits(model, x, mask_id, generator=None):
    return loss_with(right_weigh)(lambda z, t: model(z, t).softmax(-1), x, mask_id, generator)


def mean_of_each_row(nats, m, t):
    return ((nats * m).sum(1) / m.sum(1).clamp_min(1) / t[:, 0]).mean()


@pytest.mark.parametrize(
    "wrong, message",
    [
        (leaks, "The target leaks"),
        (writes_into_x, "writes into x"),
        (writes_into_x_and_aims_at_it, "writes into x"),
        (one_scalar_t, "One t for the whole batch"),
        (loss_with(right_weigh, times=lambda B, g: torch.rand(1, generator=g).expand(B)), "One t for the whole batch"),
        (lambda *inputs: loss_with(right_weigh)(*inputs).item(), "cannot be differentiated"),
        (torch.no_grad()(loss_with(right_weigh)), "cannot be differentiated"),
        (loss_with(lambda nats, m, t: nats * m / t), "must be one number"),
        (loss_with(lambda nats, m, t: (nats * m / t).mean(1)), "must be one number"),
        (loss_with(lambda nats, m, t: ((nats * m).sum(1) / m.sum(1)).mean()), "The loss is NaN"),
        (loss_with(lambda nats, m, t: -(nats * m / t).mean()), "The sign is wrong"),
        (loss_with(lambda nats, m, t: (nats * m).mean()), "weight 1/t is missing. Without it"),
        (loss_with(lambda nats, m, t: (nats * m * t).mean()), "multiplied by t"),
        (loss_with(lambda nats, m, t: (nats * m / (1 - t)).mean()), "divided by 1 - t"),
        (loss_with(lambda nats, m, t: (nats / t)[m].mean()), "masked tokens instead of all tokens"),
        (loss_with(lambda nats, m, t: nats[m].mean()), "and without 1/t"),
        (loss_with(mean_of_each_row), "corrects for them twice"),
        (loss_with(lambda nats, m, t: (nats / t).mean()), "Visible tokens are counted in the loss. They"),
        (loss_with(lambda nats, m, t: nats.mean()), "Visible tokens are counted in the loss, and"),
        (loss_with(lambda nats, m, t: (nats * ~m / t).mean()), "sits on the visible tokens"),
        (aims_at_z, "The target is z"),
        (loss_with(lambda nats, m, t: (nats * m / t).sum()), "You summed where a mean"),
        (loss_with(lambda nats, m, t: (nats * m / t).sum(1).mean()), "summed over the length"),
        (loss_with(lambda nats, m, t: (nats * m / t).mean(1).sum()), "summed over the batch"),
        (loss_with(lambda nats, m, t: (nats * m / t).mean() / math.log(2)), "That is in bits"),
        (
            loss_with(right_weigh, lambda x, t, g: (torch.rand(len(x), 1, generator=g) < t[:, None]).expand(x.shape)),
            "coin",
        ),
        (loss_with(right_weigh, lambda x, t, g: torch.rand(x.shape[1], generator=g) < t[:, None]), "One coin"),
        (loss_with(right_weigh, lambda x, t, g: torch.rand(x.shape, generator=g) > t[:, None]), "probability 1 - t"),
        (loss_with(lambda nats, m, t: (nats * m / (1 - t)).mean(), masked_less), "probability 1 - t"),
        (draws_t_twice, "t was drawn twice"),
        (loss_with(lambda nats, m, t: ((nats * m).sum(1) / m.sum(1).clamp_min(1)).mean()), "happens to have no mask"),
        (probabilities_for_logits, "given probabilities"),
        (without_the_generator, "same generator"),
        (loss_with(lambda nats, m, t: 3 * (nats * m / t).mean()), "For your own t and masks the loss is"),
        (loss_with(right_weigh, times=lambda B, g: torch.rand(B, generator=g) / 2), "uniform in (0, 1)"),
        (lambda model, x, mask_id, generator: x.float().mean(), "never asks the network"),
    ],
)
def test_wrong_losses(wrong, message):
    is_told(ex8_2, wrong, message)


@pytest.mark.parametrize("seed", range(5))
def test_right_losses_pass_whatever_their_luck(seed, monkeypatch):
    monkeypatch.setattr(training_loss, "SEEDS", range(10 * seed + 10, 10 * seed + 15))
    for right in (loss_with(right_weigh), with_rows_chosen_first, as_llada, by_count):
        passes(ex8_2, right)


# 8.3 reverse_step(z, logits, s, t, mask_id, generator)


def through_the_process(z, logits, s, t, mask_id, generator=None):
    times = (torch.full((len(z),), float(time)) for time in (s, t))
    return masked(mask_id).step(z, logits.softmax(-1), *times, generator)


def with_the_mask_as_another_token(z, logits, s, t, mask_id, generator=None):
    p = torch.cat([logits.softmax(-1) * (t - s) / t, torch.full((*z.shape, 1), s / t)], dim=-1)
    drawn = torch.multinomial(p.flatten(0, 1), 1, generator=generator).view(z.shape)
    return torch.where(z == mask_id, drawn, z)


def by_gumbel(z, logits, s, t, mask_id, generator=None):
    noise = -torch.log(-torch.log(torch.rand(logits.shape, generator=generator, dtype=torch.float64)))
    z_s = z.clone()
    stays = torch.rand(z.shape, generator=generator) < s / t
    here = (z == mask_id) & ~stays
    z_s[here] = (logits + noise).argmax(-1)[here]
    return z_s


def only_where_needed(z, logits, s, t, mask_id, generator=None):
    here = (z == mask_id) & torch.bernoulli(torch.full(z.shape, (t - s) / t), generator=generator).bool()
    return z.masked_scatter(here, draw(logits[here], generator))


@pytest.mark.parametrize(
    "right", [through_the_process, with_the_mask_as_another_token, by_gumbel, only_where_needed], ids=id_of
)
def test_right_steps(right):
    passes(ex8_3, right)


def step_with(coin, token=None, keep=lambda z, new, mask_id: torch.where(z == mask_id, new, z)):
    """A reverse step that reveals where coin(z, s, t, generator), drawing from the logits unless told otherwise."""

    def step(z, logits, s, t, mask_id, generator=None):
        drawn = draw(logits.flatten(0, 1), generator).view(z.shape) if token is None else token(logits, generator)
        return keep(z, torch.where(coin(z, s, t, generator), drawn, mask_id), mask_id)

    return step


def coin(z, s, t, g):
    return torch.rand(z.shape, generator=g) < (t - s) / t


def in_place(z, logits, s, t, mask_id, generator=None):
    here = (z == mask_id) & coin(z, s, t, generator)
    z[here] = draw(logits[here], generator)
    return z


def overwrites(z, logits, s, t, mask_id, generator=None):
    return torch.where(coin(z, s, t, generator), draw(logits.flatten(0, 1), generator).view(z.shape), z)


def draws_the_mask_too(logits, generator):
    padded = torch.cat([logits, torch.zeros(*logits.shape[:2], 1)], dim=-1)
    return draw(padded.flatten(0, 1), generator).view(logits.shape[:2])


@pytest.mark.parametrize(
    "wrong, message",
    [
        (in_place, "writes into z"),
        (overwrites, "Visible tokens are overwritten"),
        (step_with(coin, keep=lambda z, new, mask_id: new), "Visible tokens are overwritten"),
        (step_with(lambda z, s, t, g: torch.rand(z.shape, generator=g) < t - s), "with probability t - s"),
        (step_with(lambda z, s, t, g: torch.rand(z.shape, generator=g) < s / t), "swapped"),
        (step_with(lambda z, s, t, g: torch.rand(z.shape, generator=g) < 1 - s), "with probability 1 - s"),
        (step_with(lambda z, s, t, g: torch.rand(z.shape, generator=g) < (t - s) / (1 - s)), "divide by 1 - s"),
        (step_with(lambda z, s, t, g: torch.rand(z.shape, generator=g) < t), "with probability t, the share"),
        (lambda z, logits, *rest: ex8_3.reference(z, logits.softmax(-1), *rest), "softmax is taken twice"),
        (step_with(lambda z, s, t, g: torch.tensor(True)), "Every mask is revealed at once"),
        (lambda z, *rest: z.clone(), "No mask is revealed"),
        (step_with(coin, lambda logits, g: logits.argmax(-1)), "argmax"),
        (step_with(coin, lambda logits, g: torch.randint(5, logits.shape[:2], generator=g)), "uniformly random"),
        (step_with(lambda z, s, t, g: torch.rand(len(z), 1, generator=g) < (t - s) / t), "One coin"),
        (step_with(lambda z, s, t, g: torch.rand(z.shape[1], generator=g) < (t - s) / t), "One coin"),
        (step_with(lambda z, s, t, g: torch.rand(1, generator=g) < (t - s) / t), "One coin"),
        (step_with(coin, draws_the_mask_too), "the mask itself can be drawn"),
        (lambda z, logits, s, t, mask_id, g: draw(logits[z == mask_id], g), "another shape"),
        (lambda z, logits, s, t, mask_id, g: logits.softmax(-1), "another shape"),
        (lambda *inputs: ex8_3.reference(*inputs).float(), "not probabilities"),
        (lambda *inputs: ex8_3.reference(*inputs[:5]), "same generator"),
        (lambda *inputs: ex8_3.reference(inputs[0], inputs[1] * 3, *inputs[2:]), "drawn from softmax(logits)"),
        (lambda *inputs: ex8_3.reference(inputs[0], inputs[1].roll(1, 0), *inputs[2:]), "drawn from softmax(logits)"),
        (lambda *inputs: ex8_3.reference(*inputs) + 1, "overwritten"),
    ],
)
def test_wrong_steps(wrong, message):
    is_told(ex8_3, wrong, message)


# 8.4 next_time(t, n, u)


@pytest.mark.parametrize(
    "right",
    [
        lambda t, n, u: t * (1 - u) ** (1 / n),
        lambda t, n, u: t * torch.exp(torch.log(u) / n),
        lambda t, n, u: (t**n * u).pow(1 / n),
        lambda t, n, u: t - t * (1 - u.pow(n.double().reciprocal())),
    ],
)
def test_right_times(right):
    passes(ex8_4, right)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda t, n, u: t * u, "one given token"),
        (lambda t, n, u: t * (1 - u), "one given token"),
        (lambda t, n, u: t * u**n, "upside down"),
        (lambda t, n, u: t * (1 - u ** (1 / n)), "smallest of n times"),
        (lambda t, n, u: t * (1 - (1 - u) ** (1 / n)), "smallest of n times"),
        (lambda t, n, u: u ** (1 / n), "t is missing"),
        (lambda t, n, u: t * u ** (1 / (n + 1)), "Off by one"),
        (lambda t, n, u: t * (n - 1) / n, "grid of steps"),
        (lambda t, n, u: t - 1 / 12, "grid of steps"),
        (lambda t, n, u: t - u / n, "You subtract"),
        (lambda t, n, u: t - (1 - u ** (1 / n)), "You subtract"),
        (lambda t, n, u: t * u.sqrt(), "do not depend on n"),
        (lambda t, n, u: t * torch.rand(len(u)).double() ** (1 / n), "same u give different times"),
        (lambda t, n, u: t * u ** (2 / n), "With n = 1 masks left at t = 1 the next time is 0.500 on average"),
    ],
)
def test_wrong_times(wrong, message):
    is_told(ex8_4, wrong, message)


def test_the_times_of_a_row_are_those_of_all_its_tokens():
    """Twelve times one after the other are twelve sorted uniform moments."""
    t, times = torch.ones(4000, dtype=torch.float64), []
    for n in range(12, 0, -1):
        u = torch.rand(4000, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
        times.append(t := ex8_4.reference(t, torch.full((4000,), n), u))
    expected = torch.arange(12, 0, -1) / 13
    torch.testing.assert_close(torch.stack(times).mean(1), expected.double(), atol=0.01, rtol=0)


# 8.5 my_sampler(denoiser, shape, generator) -> Sample


LANGUAGE = toy_language()


@pytest.fixture(scope="module")
def ex8_5():
    return lesson_08.ex8_5(LANGUAGE.denoiser(masked(LANGUAGE.V)), LANGUAGE, sentences=100)


def by_plan(plan, **settings):
    return lambda denoiser, shape, generator: sample_masked(denoiser, plan, shape, generator=generator, **settings)


def in_groups(*groups):
    def sampler(denoiser, shape, generator=None):
        z = torch.full(shape, denoiser.V)
        for group in groups:
            logits = denoiser(z, None)[:, group]
            z[:, group] = draw(logits.flatten(0, 1), generator).view(len(z), -1)
        return Sample(z, len(groups))

    return sampler


IN_THREE_CALLS = in_groups([8, 10], [3, 7, 11], [0, 1, 2, 4, 5, 6, 9])


@pytest.mark.parametrize(
    "right", [few_calls.reference, IN_THREE_CALLS, in_groups([3, 10], [0, 1, 2, 4, 5, 8], [6, 9, 11], [7])]
)
def test_right_samplers(ex8_5, right):
    passes(ex8_5, right)
    assert ex8_5.praise.startswith("0.0% of your sentences are broken")


def fake_calls(denoiser, shape, generator):
    sample = by_plan(ancestral(12))(denoiser, shape, generator)
    return Sample(sample.tokens, torch.full((shape[0],), 4))


def best_of_two(denoiser, shape, generator):
    drafts = [by_plan(ancestral(4))(denoiser, shape, generator) for _ in range(2)]
    good = LANGUAGE.grammatical(drafts[0].tokens)
    return Sample(torch.where(good[:, None], drafts[0].tokens, drafts[1].tokens), drafts[0].network_calls)


def one_sentence(denoiser, shape, generator):
    sample = IN_THREE_CALLS(denoiser, shape, generator)
    return Sample(sample.tokens[:1].expand(shape), sample.network_calls)


def from_the_language(denoiser, shape, generator):
    IN_THREE_CALLS(denoiser, shape, generator)
    return Sample(LANGUAGE.sample(shape[0], generator=generator), 3)


def forgets_a_word(denoiser, shape, generator):
    return in_groups([8, 10], [3, 7, 11], [0, 1, 2, 4, 5, 6])(denoiser, shape, generator)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (by_plan(ancestral(12)), "Too many network calls"),
        (fake_calls, "Count every call"),
        (best_of_two, "Count every call"),
        (by_plan(ancestral(4), temperature=0), "collapsed"),
        (one_sentence, "collapsed"),
        (by_plan(confidence(4)), "narrow"),
        (by_plan(ancestral(4), temperature=0.5), "narrow"),
        (from_the_language, "Every word must be drawn from what the denoiser says"),
        (lambda d, shape, g: Sample(LANGUAGE.sample(shape[0], generator=g), 0), "never asks the denoiser"),
        (forgets_a_word, "Masks are left"),
        (lambda d, shape, g: by_plan(ancestral(4))(d, shape, g).tokens, "Return a Sample"),
        (lambda d, shape, g: by_plan(ancestral(4))(d, (shape[0], 8), g), "must be shaped"),
        (in_groups(range(12)), "no better yet"),
        (in_groups([8, 10], [3, 7, 0, 9], [1, 2, 4, 5, 6, 11]), "Better, but"),
    ],
)
def test_wrong_samplers(ex8_5, wrong, message):
    is_told(ex8_5, wrong, message)


def test_a_poor_denoiser_is_not_the_students_fault():
    ignorant = Spy(lambda z: torch.zeros(*z.shape, LANGUAGE.V), LANGUAGE.V, LANGUAGE.length)
    check = lesson_08.ex8_5(ignorant, LANGUAGE, sentences=50)
    is_told(check, IN_THREE_CALLS, "This denoiser does not know the language well enough: 100.0%")


def test_open_and_crashing_samplers(ex8_5, capsys):
    def unfilled(denoiser, shape, generator=None):
        raise NotImplementedError("Exercise 8.5")

    ex8_5.run(unfilled)
    said = capsys.readouterr().out
    assert "not attempted yet." in said and "Hint 1 of 3" in said and "ex8_5.hint()" in said
    outcome = ex8_5.judge(lambda denoiser, shape, generator: denoiser.nothing)
    assert outcome.status == CRASHED and "nothing" in outcome.message
    assert ex8_5.answer_or_reference(unfilled) is few_calls.reference


def test_the_groups_draw_from_the_language_itself():
    """Under the exact denoiser no draft is ever impossible, and the sentences are as likely as the language's own."""
    exact = LANGUAGE.denoiser(masked(LANGUAGE.V), typo_rate=0.0)
    sample = few_calls.reference(exact, (300, 12), torch.Generator().manual_seed(0))
    score = LANGUAGE.log_prob(sample.tokens)
    assert abs(score.mean() + LANGUAGE.entropy()) < 4 * score.std() / 300**0.5


def test_the_spy_remembers():
    spy = Spy(lambda z: torch.zeros(*z.shape, 3), 3, 2)
    z = torch.tensor([[0, 3]])
    spy(z, torch.tensor([0.5]))
    z[0, 0] = 3
    assert spy.asked[0].z.tolist() == [[0, 3]] and spy.asked[0].t.tolist() == [0.5] and spy.V == 3
