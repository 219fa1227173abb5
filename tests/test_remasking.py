"""Remasking: probabilities exactly as the papers have them, prompts untouched, counts exact, and every call counted."""

import itertools
import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from difflm_core.models import Transformer, TransformerConfig
from difflm_core.oracle import HiddenMarkovLanguage
from difflm_core.processes import Cosine, Linear, LinearBeta, Sqrt, masked
from difflm_core.samplers import (
    Moment,
    ancestral,
    calls_needed,
    confidence_remask,
    dfm,
    draw_from,
    forward_backward,
    gstar,
    gumbel_top_k,
    probabilities,
    random_remask,
    remask_count,
    remdm,
    remdm_cap,
    remdm_conf,
    remdm_loop,
    remdm_posterior,
    remdm_rescale,
    remdm_switch,
    sample_masked,
    sample_remasking,
    sigma_max,
    star,
    star_loop,
    star_plus,
    steps_for_calls,
)
from difflm_core.samplers.remasking import moment

V, L = 2, 3
MASK = V
CANVASES = torch.tensor(list(itertools.product(range(V + 1), repeat=L)))  # (27, 3), every partly masked text
TEXTS = (CANVASES < V).all(1).nonzero()[:, 0]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def alphas(*values):
    return [torch.tensor(value, dtype=torch.float64) for value in values]


def language():
    """Two states that rarely change, so that the three words usually agree."""
    return HiddenMarkovLanguage(
        torch.tensor([0.7, 0.3]),
        torch.tensor([[0.95, 0.05], [0.1, 0.9]]),
        torch.tensor([[0.9, 0.1], [0.05, 0.95]]),
        ["a", "b"],
        L,
    )


class Predictor:
    """A stand-in error predictor: it dislikes word 1, and position 0 a little."""

    V, length = V, L

    def __init__(self):
        self.rows = 0

    def error_logits(self, draft):
        self.rows += len(draft)
        return 1.5 * (draft == 1).float() + torch.tensor([0.7, 0.0, 0.0])[: draft.shape[1]]


SIGMA_RULES = {
    "mdlm": remdm(0.0),
    "cap": remdm_cap(0.3),
    "rescale": remdm_rescale(0.5),
    "largest": remdm_rescale(1.0),
    "switch": remdm_switch(0.6, remdm_cap(0.4)),
    "loop": remdm_loop(0.6, 0.2, 0.7, remdm_cap(0.2)),
    "loop without end phase": remdm_loop(0.6, 0.0, 0.7, remdm_cap(0.2)),
    "forward-backward": forward_backward(),
    "dfm": dfm(0.4),
    "star": star(),
    "star plus": star_plus(0.5),
    "star loop": star_loop(0.6, 0.2),
}
OTHER_RULES = {
    "conf": remdm_conf(),
    "random": random_remask(0.6),
    "confidence": confidence_remask(0.6),
    "confidence with luck": confidence_remask(0.6, temperature=1.0),
    "gstar": gstar(Predictor(), 0.6),
    "gstar hard": gstar(Predictor(), 1.0, temperature=0.0),
    "gstar loop": star_loop(0.6, 0.2, gstar(Predictor(), 1.0)),
}
RULES = SIGMA_RULES | OTHER_RULES


# The exact distribution of a sampler, by enumeration of the 27 canvases.


def exact_predictions(denoiser):
    return denoiser(CANVASES, torch.full((len(CANVASES),), 0.5)).softmax(-1)  # (27, L, V)


def site_kernel(moves, p):
    """(27, L, V + 1): what each position becomes, from each canvas."""
    masked_now = (CANVASES == MASK)[..., None]
    reveal = torch.cat([moves.reveal * p, (1 - moves.reveal).expand(len(p), L, 1)], dim=-1)
    stay = torch.nn.functional.one_hot(CANVASES, V + 1).double() * moves.keep
    stay[..., MASK] += moves.remask
    return torch.where(masked_now, reveal, stay)


def joint_kernel(sites):
    """(27, 27): positions move independently."""
    K = torch.ones(len(CANVASES), len(CANVASES), dtype=torch.float64)
    for i in range(L):
        K *= sites[:, i, CANVASES[:, i]]
    return K


def guided_kernel(p, count, score, temperature):
    """(27, 27): fill all masks, then draw `count` positions one by one in proportion to exp(score / temperature)."""
    fill = joint_kernel(site_kernel(remdm_posterior(*alphas(0.5, 1.0), 0.0), p))
    remask = torch.zeros_like(fill)
    index = {tuple(row.tolist()): k for k, row in enumerate(CANVASES)}
    for k in TEXTS.tolist():
        weight = (score(CANVASES[k][None])[0].double() / temperature).exp()
        for chosen in itertools.permutations(range(L), count):
            chance, left = 1.0, weight.sum()
            for i in chosen:
                chance, left = chance * weight[i] / left, left - weight[i]
            after = CANVASES[k].clone()
            after[list(chosen)] = MASK
            remask[k, index[tuple(after.tolist())]] += chance
    return fill @ remask


def exact_law(rule, T, denoiser, schedule=None):
    """(27,) the probability of every final canvas."""
    schedule, p = schedule or Linear(), exact_predictions(denoiser)
    law = (CANVASES == MASK).all(1).double()
    for step in range(T, 0, -1):
        now = moment(rule.clock(schedule), schedule, step, T, None)
        if rule.guide is not None and rule.during(now.t):
            count = math.ceil(round((1 - now.alpha_s.item()) * L, 6))
            law = law @ guided_kernel(p, count, lambda d: rule.guide.score(d, d.double()), rule.guide.temperature)
        else:
            sigma = rule.sigma(now) if rule.during(now.t) else 0.0
            law = law @ joint_kernel(site_kernel(remdm_posterior(now.alpha_t, now.alpha_s, sigma), p))
    return law


def drawn_law(tokens):
    index = (tokens * torch.tensor([(V + 1) ** (L - 1 - i) for i in range(L)])).sum(1)
    return torch.bincount(index, minlength=len(CANVASES)).double() / len(tokens)


def distance(p, q):
    return 0.5 * (p - q).abs().sum().item()


def truth():
    law = torch.zeros(len(CANVASES), dtype=torch.float64)
    law[TEXTS] = language().log_prob(CANVASES[TEXTS]).exp()
    return law


# One step.


@given(st.floats(0, 0.999), st.floats(0, 1), st.floats(0, 1))
def test_any_allowed_sigma_keeps_the_marginal(alpha_t, rise, share):
    alpha_t, alpha_s = alphas(alpha_t, alpha_t + rise * (1 - alpha_t))
    keep, reveal, remask = remdm_posterior(alpha_t, alpha_s, share * sigma_max(alpha_t, alpha_s))
    # One position that is x with probability alpha_t: after the step it is x with probability alpha_s.
    assert abs(alpha_t * keep + (1 - alpha_t) * reveal - alpha_s) < 1e-12
    assert keep + remask == 1 and 0 <= reveal <= 1


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), Sqrt(), LinearBeta()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", SIGMA_RULES)
def test_every_rule_keeps_the_marginal_along_its_whole_clock(name, schedule):
    rule, T = SIGMA_RULES[name], 24
    clock = rule.clock(schedule)
    visible = schedule.alpha(torch.tensor(1.0, dtype=torch.float64))
    for step in range(T, 0, -1):
        now = moment(clock, schedule, step, T, None)
        assert abs(visible - now.alpha_t) < 1e-12
        sigma = rule.sigma(now) if rule.during(now.t) else 0.0
        keep, reveal, _ = remdm_posterior(now.alpha_t, now.alpha_s, sigma)
        visible = visible * keep + (1 - visible) * reveal
        assert abs(visible - now.alpha_s) < 1e-12
    assert visible == 1  # nothing is left masked


@pytest.mark.parametrize("name", SIGMA_RULES)
def test_with_the_exact_denoiser_a_step_keeps_each_position_but_not_the_text(name):
    """From an exact z_t every position of z_s has the law it should have. Together they have not: drawn apart."""
    rule, process, p = SIGMA_RULES[name], masked(V), exact_predictions(language().denoiser(masked(V)))
    now = moment(rule.clock(Linear()), Linear(), 3, 6, None)
    texts = CANVASES[TEXTS]
    at = {}
    for key, alpha in (("t", now.alpha_t), ("s", now.alpha_s)):
        time = (1 - alpha).expand(len(texts)).double()
        site = process.marginal(texts, time)  # (8, L, V + 1)
        joint = torch.stack([torch.stack([site[:, i, c[i]] for i in range(L)]).prod(0) for c in CANVASES], dim=1)
        at[key] = truth()[TEXTS] @ joint  # (27,)
    sigma = rule.sigma(now) if rule.during(now.t) else 0.0
    after = at["t"] @ joint_kernel(site_kernel(remdm_posterior(now.alpha_t, now.alpha_s, sigma), p))
    for i in range(L):
        for v in range(V + 1):
            here = CANVASES[:, i] == v
            assert abs(after[here].sum() - at["s"][here].sum()) < 1e-12
    if now.alpha_s > now.alpha_t:
        assert distance(after, at["s"]) > 1e-3


def test_sigma_zero_is_the_ancestral_step_of_mdlm():
    process, p = masked(V), exact_predictions(language().denoiser(masked(V)))
    s, t = (torch.full((27,), value, dtype=torch.float64) for value in (0.3, 0.7))
    plug_in = process.posterior(CANVASES, p, s, t)
    sites = site_kernel(remdm_posterior(*alphas(0.3, 0.7), 0.0), p)
    torch.testing.assert_close(sites, plug_in, rtol=0, atol=1e-12)


@given(st.floats(0, 0.99), st.floats(0, 1))
def test_star_drafts_everything_and_noises_it_afresh(alpha_t, rise):
    """sigma = 1 - alpha_s: visible or masked before, a position shows its kept or drafted token with chance alpha_s."""
    alpha_t, alpha_s = alphas(alpha_t, alpha_t + rise * (1 - alpha_t))
    assert 1 - alpha_s <= sigma_max(alpha_t, alpha_s) + 1e-12
    keep, reveal, _ = remdm_posterior(alpha_t, alpha_s, 1 - alpha_s)
    assert abs(keep - alpha_s) < 1e-12 and abs(reveal - alpha_s) < 1e-12


def test_star_draws_exactly_what_the_two_stage_sampler_draws():
    """Stage one drafts all masks, stage two noises the draft; with the same random numbers the texts are identical."""
    denoiser, T, shape = language().denoiser(masked(V)), 6, (200, L)
    generator, z = seeded(3), torch.full((200, L), MASK)
    for step in range(T, 0, -1):
        p = probabilities(denoiser(z, torch.full((200,), step / T)))
        survives = torch.rand(shape, generator=generator, dtype=torch.float64) < 1 - torch.tensor(step - 1).double() / T
        draft, shown = z.clone(), survives & (z == MASK)  # tokens that stage two hides need no draw
        draft[shown] = draw_from(p[shown], generator)
        z = torch.where(survives, draft, MASK)
    out = sample_remasking(denoiser, star(), T, shape, generator=seeded(3))
    assert torch.equal(out.tokens, z)


@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_correctors_are_choices_of_sigma(beta):
    """Prop. 4.2 (beta = 1, forward-backward) and 4.3: (1 + beta) steps back in one, and beta steps forward."""
    alpha_t, alpha_s = alphas(0.4, 0.45)
    now = Moment(0.6, 0.55, 0.6, alpha_t, alpha_s, None)
    assert beta != 1 or forward_backward().sigma(now) == dfm(1.0).sigma(now)
    moves = remdm_posterior(alpha_t, alpha_s, dfm(beta).sigma(now))
    ancestral_reveal = (alpha_s - alpha_t) / (1 - alpha_t)
    forward_mask = (alpha_s - alpha_t) / alpha_t  # = dt (-alpha' / alpha) on the linear schedule
    assert abs(moves.reveal - (1 + beta) * ancestral_reveal) < 1e-12
    assert abs(moves.remask - beta * forward_mask) < 1e-12


def test_sigma_above_its_bound_is_refused():
    with pytest.raises(ValueError, match=r"sigma = 0.6 lies outside \[0, 0.125\].*alpha_t = 0.8 to alpha_s = 0.9"):
        remdm_posterior(*alphas(0.8, 0.9), 0.6)
    with pytest.raises(ValueError, match="sigma = 0.6 lies outside"):
        remdm_posterior(*alphas(0.8, 0.9), torch.tensor([[0.0, 0.05], [0.6, 0.0]]))
    for bad in (-0.1, math.nan):
        with pytest.raises(ValueError, match="lies outside"):
            remdm_posterior(*alphas(0.2, 0.3), bad)
    with pytest.raises(ValueError, match="alpha_s must not be smaller"):
        remdm_posterior(*alphas(0.3, 0.2), 0.0)
    denoiser = language().denoiser(masked(V))
    with pytest.raises(ValueError, match="cut it at sigma_max"):  # a fixed sigma cannot work in the last step
        sample_remasking(denoiser, remdm(0.3), 4, (2, L))
    fitting = remdm(lambda now: sigma_max(now.alpha_t, now.alpha_s).clamp_max(0.3))
    assert (sample_remasking(denoiser, fitting, 4, (2, L)).tokens < V).all()


# Rules.


def test_conf_shares_one_remasking_among_the_visible_tokens():
    written = torch.tensor([[0.9, 0.1, torch.nan, 0.5], [torch.nan] * 4]).double()
    now = Moment(0.5, 0.4, 0.5, *alphas(0.5, 0.6), written)
    sigma = remdm_conf().sigma(now)
    largest = sigma_max(now.alpha_t, now.alpha_s)
    assert abs(sigma[0].sum() - largest) < 1e-12 and largest <= 1  # at most one token a step, expected
    assert sigma[0, 1] > sigma[0, 3] > sigma[0, 0] > sigma[0, 2] == 0  # the least sure first; masks have no share
    assert (sigma[1] == 0).all()


def test_loop_clocks():
    """ReMDM's mask fraction (its code), and Star's progress, which at the defaults are the same clock."""
    t_on, t_off, alpha_on = 0.55, 0.05, 0.8
    clock = remdm_loop(t_on, t_off, alpha_on).clock(Linear())
    r = 1 - (t_on - t_off)
    same = star_loop(t_on, t_off).clock(Linear())
    default = remdm_loop(t_on, t_off, 0.9).clock(Linear())
    for t in torch.linspace(0, 1, 101).tolist():
        if t > t_on:
            fraction, progress = 1 - (1 - t) * alpha_on / (1 - t_on), (1 - t) / r
        elif t > t_off:
            fraction, progress = 1 - alpha_on, (1 - t_on) / r
        else:
            fraction, progress = t * (1 - alpha_on) / t_off, (1 - t_on + t_off - t) / r
        assert clock(t) == pytest.approx(fraction, abs=1e-12)
        assert same(t) == pytest.approx(1 - progress, abs=1e-12) == pytest.approx(default(t), abs=1e-12)
    assert remdm_loop(t_on, t_off, alpha_on).clock(Cosine())(0.3) == pytest.approx(1 - 2 / math.pi * math.acos(0.2))


def test_rules_refuse_impossible_settings():
    refused = [
        (lambda: remdm_cap(1.5), "eta must lie in"),
        (lambda: remdm_rescale(-0.1), "eta must lie in"),
        (lambda: star_plus(1.2), "t_switch must lie in"),
        (lambda: remdm_loop(0.2, 0.5), "t_off < t_on"),
        (lambda: remdm_loop(alpha_on=1.0), "alpha_on"),
        (lambda: dfm(-1.0), "at least 0"),
        (lambda: remdm_conf(random_remask()), "guided rule has none"),
        (lambda: confidence_remask(temperature=-1.0), "temperature must be at least 0"),
        (lambda: gstar(Predictor(), temperature=math.nan), "temperature must be at least 0"),
        (lambda: steps_for_calls(star(), 0), "at least 1"),
    ]
    for attempt, message in refused:
        with pytest.raises(ValueError, match=message):
            attempt()


def test_a_predictor_for_another_vocabulary_or_canvas_is_refused():
    other = Predictor()
    other.V = V + 5
    with pytest.raises(ValueError, match=r"vocabulary of 7 tokens, but the denoiser writes 2"):
        sample_remasking(language().denoiser(masked(V)), gstar(other), 4, (2, L))
    short = Predictor()
    short.length = 2
    with pytest.raises(ValueError, match=r"at most 2 positions, but the canvas has 3"):
        sample_remasking(language().denoiser(masked(V)), gstar(short), 4, (2, L))


# Exact counts.


def test_the_count_is_the_exact_ceiling():
    for T in (3, 7, 10, 24, 100):
        for step in range(T):
            alpha_s = Linear().alpha(torch.tensor(step / T, dtype=torch.float64))
            counts = remask_count(alpha_s, torch.arange(65))
            assert counts.tolist() == [math.ceil(Fraction(step, T) * free) for free in range(65)]


def test_gumbel_top_k_draws_without_replacement():
    score = torch.tensor([0.0, 1.0, -0.5, 2.0, 9.0])
    allowed = torch.tensor([True, True, True, True, False])
    weight, N, tau = (score[:4] / 2).exp().double(), 40_000, 2.0
    exact = torch.zeros(5, dtype=torch.float64)
    for first, second in itertools.permutations(range(4), 2):
        chance = weight[first] / weight.sum() * weight[second] / (weight.sum() - weight[first])
        exact[first] += chance
        exact[second] += chance
    shape = (N, 5)
    chosen = gumbel_top_k(score.expand(shape), torch.full((N,), 2), tau, allowed.expand(shape), seeded(0))
    assert (chosen.sum(1) == 2).all() and not chosen[:, 4].any()
    assert (chosen.double().mean(0) - exact).abs().max() < 4 * 0.5 / math.sqrt(N)


def test_gumbel_top_k_at_its_ends():
    score = torch.tensor([0.0, 3.0, 1.0, 3.0]).expand(20_000, 4)
    allowed = torch.ones_like(score, dtype=torch.bool)
    count = torch.full((20_000,), 1)
    hard = gumbel_top_k(score, count, 0.0, allowed, seeded(1)).double().mean(0)
    assert hard[0] == hard[2] == 0 and abs(hard[1] - 0.5) < 0.02  # ties fall at random, not to the left
    any_of = gumbel_top_k(score, count, math.inf, allowed, seeded(2)).double().mean(0)
    assert (any_of - 0.25).abs().max() < 0.02
    assert gumbel_top_k(score[:2], torch.tensor([9, 0]), 1.0, allowed[:2], seeded(3)).sum(1).tolist() == [4, 0]


@pytest.mark.parametrize("rule", [random_remask(0.6), confidence_remask(0.6), gstar(Predictor(), 0.6)])
def test_guided_steps_leave_exactly_the_planned_masks(rule):
    prompt = torch.tensor([[MASK, MASK, MASK], [MASK, 1, MASK]])
    T = 10
    out = sample_remasking(language().denoiser(masked(V)), rule, T, (2, L), prompt, seeded(0), record=True)
    frames = out.trajectory[1 + 4 :]  # the start, and four ancestral steps at t = 1, 0.9, 0.8, 0.7
    for step, (draft, kept) in zip(range(6, 1, -1), zip(frames[0:-1:2], frames[1:-1:2]), strict=True):
        expected = [math.ceil(Fraction(step - 1, T) * free) for free in (3, 2)]
        assert (kept.tokens == MASK).sum(1).tolist() == expected
        full = torch.tensor(expected) < torch.tensor([3, 2])
        assert not (draft.tokens[full] == MASK).any()
    assert not (frames[-1].tokens == MASK).any()


# The whole sampler.


@pytest.mark.parametrize("name", ["cap", "rescale", "loop", "star", "star plus", "random", "gstar", "gstar loop"])
def test_samples_follow_the_enumerated_chain(name):
    denoiser, rule, T, N = language().denoiser(masked(V)), RULES[name], 5, 30_000
    exact = exact_law(rule, T, denoiser)
    assert exact.sum() == pytest.approx(1) and exact[TEXTS].sum() == pytest.approx(1)
    drawn = drawn_law(sample_remasking(denoiser, rule, T, (N, L), generator=seeded(1)).tokens)
    assert distance(drawn, exact) < 0.012  # 8 texts: about 0.005 by chance


def test_without_remasking_it_is_the_ancestral_sampler():
    denoiser = language().denoiser(masked(V))
    exact = exact_law(remdm(0.0), 4, denoiser)
    drawn = drawn_law(sample_masked(denoiser, ancestral(4), (30_000, L), generator=seeded(2)).tokens)
    assert distance(drawn, exact) < 0.012


def test_errors_of_parallel_drawing_fall_as_one_over_T_but_as_its_root_for_star():
    """With the exact denoiser the only error is drawing several tokens at once. MDLM draws two given positions in one
    step with chance about 1/T. Star does so at time t with chance t^2, and later steps repair it with chance about t
    each: summed over the grid that leaves T^(-1/2). An exact count ends with one mask a step, where nothing is drawn
    together.
    """
    denoiser = language().denoiser(masked(V))
    rules = {"mdlm": remdm(0.0), "star": star(), "star plus": star_plus(0.3), "exact count": random_remask(0.3)}
    gap = {name: [distance(exact_law(rule, T, denoiser), truth()) for T in (1, 16, 64)] for name, rule in rules.items()}
    assert all(gaps[0] == pytest.approx(gap["mdlm"][0]) for gaps in gap.values())  # one step is one step
    assert gap["mdlm"][2] / gap["mdlm"][1] == pytest.approx(1 / 4, abs=0.02)
    assert gap["star"][2] / gap["star"][1] == pytest.approx(1 / 2, abs=0.06)
    assert gap["mdlm"][2] < gap["star plus"][2] < gap["star"][2]
    assert gap["exact count"][2] < gap["mdlm"][2] / 10


@given(
    st.sampled_from(sorted(RULES)),
    st.integers(1, 7),
    st.integers(0, 10_000),
    st.lists(st.lists(st.integers(0, V), min_size=L, max_size=L), min_size=1, max_size=3),
)
def test_no_rule_touches_a_prompt_or_leaves_a_mask(name, T, seed, prompt):
    prompt, rule = torch.tensor(prompt), RULES[name]
    given_tokens = prompt != MASK
    out = sample_remasking(language().denoiser(masked(V)), rule, T, prompt.shape, prompt, seeded(seed), record=True)
    for frame in out.trajectory:
        assert torch.equal(frame.tokens[given_tokens], prompt[given_tokens])
        assert not (frame.written & given_tokens).any()
    assert (out.tokens < V).all()
    assert (out.network_calls <= calls_needed(rule, T)).all()
    assert (out.network_calls[given_tokens.all(1)] == 0).all()  # nothing to do, nothing to pay


class Counting:
    """A denoiser that counts rows and remembers times."""

    def __init__(self, inner):
        self.inner, self.V, self.rows, self.times = inner, inner.V, 0, []

    def hidden(self, z_t, t):
        self.rows += len(z_t)
        self.times.append(t[0].item())
        return self.inner.hidden(z_t, t)

    def logits(self, h):
        return self.inner.logits(h)


@pytest.mark.parametrize("name", RULES)
def test_network_calls_are_the_passes_of_both_networks(name):
    rule, predictor = RULES[name], Predictor()
    if rule.guide is not None and rule.guide.network is not None:
        rule = replace(rule, guide=gstar(predictor, 1.0, rule.guide.temperature).guide)
    denoiser = Counting(language().denoiser(masked(V)))
    out = sample_remasking(denoiser, rule, 12, (40, L), generator=seeded(0))
    assert out.network_calls.sum() == denoiser.rows + predictor.rows
    assert denoiser.times == sorted(denoiser.times, reverse=True) and max(denoiser.times) <= 1
    assert (out.network_calls <= calls_needed(rule, 12)).all()


def test_steps_and_calls():
    learned, free = gstar(Predictor(), 0.3), random_remask(0.3)
    assert calls_needed(star(), 10) == calls_needed(free, 10) == 10
    assert calls_needed(learned, 10) == 12  # guided at t = 0.3 and 0.2; the step at 0.1 is the last
    for calls in (1, 2, 13, 64):
        T = steps_for_calls(learned, calls)
        assert calls_needed(learned, T) <= calls < calls_needed(learned, T + 1)
        assert steps_for_calls(free, calls) == calls


def test_works_with_a_network_temperature_top_p_and_time():
    model = Transformer(TransformerConfig(5, 6, width=16, layers=1, heads=2, time_conditioning=True)).eval()
    greedy = sample_remasking(model, remdm(0.0), 3, (4, 6), generator=seeded(0), temperature=0.0)
    assert (greedy.tokens < 5).all()
    settings = dict(top_p=0.8, schedule=Cosine())
    out = sample_remasking(model, remdm_conf(), 8, (4, 6), generator=seeded(0), record=True, **settings)
    again = sample_remasking(model, remdm_conf(), 8, (4, 6), generator=seeded(0), **settings)
    assert torch.equal(out.tokens, again.tokens) and out.trajectory[0].tokens.eq(5).all()
    for frame in out.trajectory:
        assert torch.equal(frame.probability.isfinite(), frame.written)
