"""The exercises of lesson 09: right answers pass however they are written, and each usual mistake is named."""

import pytest
import torch
import torch.nn.functional as F
from judging import is_told, passes

from difflm_core.classroom.exercises import lesson_09
from difflm_core.classroom.exercises.lesson_09 import (
    correction,
    eight_calls,
    ex9_1,
    ex9_2,
    ex9_3,
    ex9_4,
    reverse_step,
    weights,
    wrong_share,
)
from difflm_core.data.toy_language import toy_language
from difflm_core.models import LeaveOneOut, WithOwnEvidence
from difflm_core.objectives import elbo_weights
from difflm_core.processes import DiscreteProcess, HybridSchedule, hybrid
from difflm_core.samplers import Sample, sample_discrete, self_correct

# 9.1 wrong_share(t, p_u, V)


def from_the_process(t, p_u, V):
    alpha, _, uniform_mass = hybrid(V, p_u).masses(t)
    return (uniform_mass - uniform_mass / V) / (alpha + uniform_mass)


def by_counting(t, p_u, V):
    marginal = hybrid(V, p_u).marginal(torch.zeros(len(t), 1, dtype=torch.long), t)[:, 0]
    return marginal[:, 1:V].sum(1) / marginal[:, :V].sum(1)


@pytest.mark.parametrize("right", [from_the_process, by_counting])
def test_right_shares(right):
    passes(ex9_1, right)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda t, p_u, V: t * 0 + p_u, "at t = 1/2 only"),
        (lambda t, p_u, V: (lambda _, m, u: u * (1 - 1 / V))(*hybrid(V, p_u).masses(t)), "masks included"),
        (lambda t, p_u, V: (lambda a, m, u: u / (a + u))(*hybrid(V, p_u).masses(t)), "by luck"),
        (wrong_share.share(lucky=lambda V: 1 / (V + 1)), "V + 1 symbols"),
        (lambda t, p_u, V: wrong_share.c_of(t, p_u) * (1 - 1 / V), "no probability yet"),
        (wrong_share.share(over=lambda t, c: (1 + c) * (1 - t + c)), "once too often"),
        (wrong_share.share(over=lambda t, c: 1 - t), "surviving ones"),
        (wrong_share.share(c_of=lambda t, p_u: 2 * p_u / (1 - p_u) * (t - t**2)), "a square root"),
        (wrong_share.share(c_of=lambda t, p_u: p_u / (1 - p_u) * (t - t**2) ** 0.5), "2^gamma = 2"),
        (wrong_share.share(c_of=lambda t, p_u: 2 * p_u * (t - t**2) ** 0.5), "makes up for C_t"),
        (lambda t, p_u, V: 1.01 * wrong_share.right(t, p_u, V), "at t = 0.5 the share is"),
        (lambda t, p_u, V: 0.1, "Return one share for each t"),
    ],
)
def test_wrong_shares(wrong, message):
    is_told(ex9_1, wrong, message)


# 9.2 weights(t, p_u, gamma, V)


def by_the_package(t, p_u, gamma, V):
    z = torch.tensor([[V, 1, 0]]).expand(len(t), 3)
    return elbo_weights(hybrid(V, p_u, gamma), torch.zeros(len(t), 3, dtype=torch.long), z, t).unbind(1)


def by_derivatives(t, p_u, gamma, V):
    schedule = HybridSchedule(p_u, gamma)
    t = t.clone().requires_grad_()
    C = 1 + schedule.c(t)
    mask, uniform_mass, alpha = t / C, schedule.c(t) / C, (1 - t) / C
    slope = [torch.autograd.grad(part.sum(), t, retain_graph=True)[0] for part in (alpha, mask, uniform_mass)]
    onto_mask, onto_words = (slope[i] - slope[0] / alpha * part for i, part in ((1, mask), (2, uniform_mass)))
    b = uniform_mass / V
    return [w.detach() for w in (onto_mask / mask, onto_words / uniform_mass, onto_words / V / (alpha + b))]


@pytest.mark.parametrize("right", [by_the_package, by_derivatives, lambda *inputs: torch.stack(weights.right(*inputs))])
def test_right_weights(right):
    passes(ex9_2, right)


def scaled(*factors):
    return lambda *inputs: [factor(*inputs) * w for factor, w in zip(factors, weights.right(*inputs))]


def by_survivors_alone(t, p_u, gamma, V):
    b = weights.c_of(t, p_u, gamma) / V
    on_mask, on_wrong, _ = weights.right(t, p_u, gamma, V)
    return on_mask, on_wrong, on_wrong * b / (1 - t)


def one(*inputs):
    return 1


@pytest.mark.parametrize(
    "wrong, message",
    [
        (weights.with_slope(lambda t, gamma: (1 / t - 1 / (1 - t)) / 2), "gamma = 1 only"),
        (scaled(one, one, lambda t, p_u, gamma, V: V), "lacks a factor 1/V"),
        (weights.with_b(lambda c, V: (c, c)), "used c where c / V"),
        (weights.with_b(lambda c, V: (c / (V + 1), c / (V + 1))), "V + 1 symbols"),
        (weights.with_slope(lambda t, gamma: 0 * t), "c' is missing"),
        (weights.with_slope(lambda t, gamma: gamma * (t - 0.5) / (t * (1 - t))), "sign of c'"),
        (weights.mask_twice_wrong, "does not depend on gamma"),
        (lambda t, p_u, gamma, V: weights.right(t, p_u, 1.0, V), "section 4's weights"),
        (lambda *inputs: [weights.right(*inputs)[i] for i in (0, 2, 1)], "the last two exchanged"),
        (weights.with_c(lambda t, p_u, gamma: 2 * p_u / (1 - p_u) * (t - t**2) ** (gamma / 2)), "the 2 of gamma = 1"),
        (weights.with_c(lambda t, p_u, gamma: p_u / (1 - p_u) * (t - t**2) ** (gamma / 2)), "2^gamma in B is missing"),
        (weights.with_c(lambda t, p, gamma: 2**gamma * p / (1 - p) * (t - t**2) ** gamma), "in c is gamma / 2"),
        (weights.with_slope(lambda t, gamma: gamma * (1 / t - 1 / (1 - t))), "A factor 1/2 is missing"),
        (by_survivors_alone, "not alpha alone"),
        (weights.rates, "rates of jumping there"),
        (scaled(lambda t, *_: 1 - t, one, one), "in front of a cross-entropy"),
        (lambda *inputs: (weights.right(*inputs)[0], *[weights.right(*inputs)[1]] * 2), "counts less"),
        (scaled(one, lambda *_: 2, one), "the weight on a wrong word is"),
        (lambda *inputs: weights.right(*inputs)[:2], "Return three weights"),
    ],
)
def test_wrong_weights(wrong, message):
    is_told(ex9_2, wrong, message)


# 9.3 step(z, p, at_s, at_t)


def by_the_process(z, p, at_s, at_t):
    """The package's own posterior, on a process that knows two moments only."""

    def masses(t):
        return tuple(early + (late - early) * t for early, late in zip(at_s, at_t))

    process = DiscreteProcess(p.shape[-1], None, masses, has_uniform=True)
    return process.posterior(z, p, torch.zeros(len(z), dtype=p.dtype), torch.ones(len(z), dtype=p.dtype))


def by_a_matrix(z, p, at_s, at_t):
    V = p.shape[-1]
    a = at_t[0] / at_s[0]
    arrival = torch.tensor([(at_t[2] - a * at_s[2]) / V] * V + [at_t[1] - a * at_s[1]]).to(p)
    Q = a * torch.eye(V + 1).to(p) + arrival  # (from, to)
    q_s = torch.cat([at_s[0] * p + at_s[2] / V, torch.full_like(p[..., :1], at_s[1])], -1)
    return F.normalize(Q.T[z] * q_s, p=1, dim=-1)


@pytest.mark.parametrize("right", [by_the_process, by_a_matrix])
def test_right_steps(right):
    passes(ex9_3, right)


STEP = reverse_step.step_with


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda *inputs: reverse_step.right(*inputs)[..., :-1], "The mask has no column"),
        (reverse_step.carries_over, "carry-over"),
        (reverse_step.ignores_z, "z_t changes nothing"),
        (reverse_step.jumps_onto_the_past, "Yours depends on z_s"),
        (STEP(before=lambda then, now: (*then[:2], 0.0)), "lacks its random words"),
        (reverse_step.over_all_symbols, "V + 1 symbols"),
        (lambda *inputs: reverse_step.right(*inputs).roll(1, -1), "yours is the first"),
        (reverse_step.mixture, "mean of the posteriors"),
        (STEP(normalise=False), "Not normalised"),
        (STEP(jump=lambda then, now, stay: now[1:]), "count all jumps since 0"),
        (STEP(jump=lambda then, now, stay: (now[1] - then[1], now[2] - then[2])), "still unmoved"),
        (STEP(stay=lambda then, now: now[0]), "alpha_t / alpha_s"),
        (STEP(before=lambda then, now: now), "with the masses at s"),
        (STEP(each=lambda V: 1), "one V-th of the mass"),
        (lambda z, p, *masses: reverse_step.right(z, F.normalize(p**2, p=1, dim=-1), *masses), "With hybrid noise"),
        (lambda *inputs: 2 * reverse_step.right(*inputs), "must sum to 1"),
    ],
)
def test_wrong_steps(wrong, message):
    is_told(ex9_3, wrong, message)


# 9.4 correct(logits, z, free, temperature, generator)


def in_a_loop(logits, z, free, temperature, generator=None):
    p = (logits / temperature).softmax(-1)
    proposal = torch.multinomial(p.flatten(0, 1), 1, generator=generator).view(z.shape)
    new = z.clone()
    for row in range(len(z)):
        scored = [
            (logits[row, i].softmax(-1)[proposal[row, i]].item(), i)
            for i in range(z.shape[1]) if free[row, i] and proposal[row, i] != z[row, i]
        ]  # fmt: skip
        if scored:
            new[row, max(scored)[1]] = proposal[row, max(scored)[1]]
    return new


def with_tempered_scores(logits, z, free, temperature, generator=None):
    return correction.reference(logits / temperature, z, free, 1.0, generator)


@pytest.mark.parametrize("right", [in_a_loop, with_tempered_scores])
def test_right_corrections(right):
    passes(ex9_4, right)


def correct_with(score, propose=None, where=None):
    def correct(logits, z, free, temperature, generator=None):
        drawn = torch.multinomial((logits / temperature).softmax(-1).flatten(0, 1), 1, generator=generator)
        proposal = drawn.view(z.shape) if propose is None else propose(logits, temperature, generator)
        p = logits.softmax(-1)
        value = score(
            p.gather(-1, proposal[..., None])[..., 0], p.gather(-1, z[..., None])[..., 0], proposal != z, free
        )
        place = F.one_hot(value.argmax(1), z.shape[1]).bool() & (value > 0) if where is None else where(value)
        return torch.where(place, proposal, z)

    return correct


def one_for_all(value):
    return F.one_hot(value.flatten().argmax(), value.numel()).view(value.shape).bool()


def right_score(new, old, differs, free):
    return new * (differs & free)


def warm_draw(logits, temperature, generator):
    """Cold only where it would show at once."""
    logits = logits if temperature > 0.2 else logits / temperature
    return torch.multinomial(logits.softmax(-1).flatten(0, 1), 1, generator=generator).view(logits.shape[:2])


def in_place(logits, z, free, temperature, generator=None):
    z.copy_(correction.reference(logits, z, free, temperature, generator))
    return z


@pytest.mark.parametrize(
    "wrong, message",
    [
        (in_place, "writes into z"),
        (correct_with(lambda new, old, differs, free: new * differs), "A given word was overwritten"),
        (correct_with(lambda new, old, differs, free: new * differs, where=lambda v: v > 0), "given ones too"),
        (correct_with(right_score, where=lambda v: v > 0), "write only the surest"),
        (correct_with(lambda new, old, differs, free: (1 - old) * (differs & free)), "doubt alone"),
        (correct_with(lambda new, old, differs, free: (1 - new) * (differs & free)), "doubt alone"),
        (correct_with(lambda new, old, differs, free: new * free), "Nothing changes"),
        (correct_with(right_score, where=lambda v: F.one_hot(v.argmax(1), v.shape[1]).bool()), "Write only where"),
        (correct_with(right_score, where=one_for_all), "in the whole batch"),
        (correct_with(lambda new, old, differs, free: (new - old) * (differs & free)), "it need only differ"),
        (correct_with(lambda new, old, differs, free: new.log() * (differs & free)), "0 is no small one"),
        (correct_with(right_score, lambda logits, temperature, g: logits.argmax(-1)), "argmax"),
        (correct_with(right_score, lambda logits, temperature, g: warm_draw(logits, temperature, g)), "is not used"),
        (lambda *inputs: correction.reference(*inputs[:4]), "same generator"),
        (lambda *inputs: correction.reference(*inputs)[:, :3], "another shape"),
    ],
)
def test_wrong_corrections(wrong, message):
    is_told(ex9_4, wrong, message)


# 9.5 my_sampler(process, denoiser, shape, generator) -> Sample


LANGUAGE = toy_language()
PROCESS = hybrid(LANGUAGE.V, 0.2)


@pytest.fixture(scope="module")
def ex9_5():
    return lesson_09.ex9_5(PROCESS, LeaveOneOut(LANGUAGE.denoiser(PROCESS), PROCESS), LANGUAGE, sentences=100)


def test_the_reference_halves_the_broken_sentences(ex9_5):
    passes(ex9_5, eight_calls.reference)
    assert "of your sentences are broken" in ex9_5.praise


def plain(T):
    return lambda process, denoiser, shape, generator: sample_discrete(process, denoiser, T, shape, generator=generator)


def greedy(process, denoiser, shape, generator):
    """GIDD's own correction, with the calls there are."""
    return warm(process, denoiser, shape, generator, temperature=0.1)


def warm(process, denoiser, shape, generator, temperature=1.0):
    draft = sample_discrete(process, denoiser, 3, shape, generator=generator)
    out = self_correct(denoiser, draft.tokens, 4, tokens_per_step=2, temperature=temperature, generator=generator)
    return Sample(out.tokens, draft.network_calls + out.network_calls)


def forgets_the_draft(process, denoiser, shape, generator):
    out = eight_calls.reference(process, denoiser, shape, generator)
    return Sample(out.tokens, out.network_calls - 5)


def one_sentence(process, denoiser, shape, generator):
    out = eight_calls.reference(process, denoiser, shape, generator)
    return Sample(out.tokens[:1].expand(shape), out.network_calls)


def from_the_language(process, denoiser, shape, generator):
    plain(8)(process, denoiser, shape, generator)
    return Sample(LANGUAGE.sample(shape[0], generator=generator), torch.full((shape[0],), 8))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (plain(12), "Too many network calls"),
        (forgets_the_draft, "Add up the calls"),
        (one_sentence, "repeats itself"),
        (greedy, "repeats itself"),
        (warm, "narrow"),
        (from_the_language, "Every word must be drawn from what the denoiser says"),
        (lambda p, d, shape, g: Sample(LANGUAGE.sample(shape[0], generator=g), 0), "never asks the denoiser"),
        (lambda p, d, shape, g: plain(4)(p, d, shape, g).tokens, "Return a Sample"),
        (lambda p, d, shape, g: plain(4)(p, d, (shape[0], 8), g), "must be shaped"),
        (plain(4), "no better yet"),
    ],
)
def test_wrong_samplers(ex9_5, wrong, message):
    is_told(ex9_5, wrong, message)


def test_the_careful_editor_is_the_posterior():
    """Its evidence put back, the leave-one-out answer is p(x_i | z_t) again."""
    x = LANGUAGE.sample(4, generator=torch.Generator().manual_seed(0))
    t = torch.full((4,), 0.05)
    posterior = LANGUAGE.denoiser(PROCESS)
    ours = WithOwnEvidence(LeaveOneOut(posterior, PROCESS), PROCESS).hidden(x, t).softmax(-1)
    assert torch.allclose(ours, posterior(x, t).softmax(-1), atol=1e-6)
