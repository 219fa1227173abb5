"""Samplers against laws that can be written down: an enumerable language whose exact denoiser makes exact samplers
exact.
"""

import pytest
import torch
from enumerable import (
    TableDenoiser,
    TinyLanguage,
    all_sequences,
    chain_law,
    chi_square_p,
    index_of,
    random_denoiser,
    texts_p,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives import autoregressive_nll
from difflm_core.processes import Cosine, Linear, masked
from difflm_core.samplers import (
    ancestral,
    blocks,
    confidence,
    counts,
    draw,
    draw_from,
    first_hitting,
    left_to_right,
    probabilities,
    prompt_canvas,
    sample_ar,
    sample_discrete,
    sample_masked,
    sample_sliding,
    threshold,
)

V, L, N = 3, 3, 20_000
LANGUAGE = TinyLanguage(V, L)
EXACT = LANGUAGE.denoiser()
WITH_TIME = random_denoiser(V, L, with_time=True)
LONG = 8  # canvas of the small network below, for what concerns order and not frequency
BIG_V = 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def network() -> Transformer:
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(BIG_V, LONG, width=16, layers=1, heads=2)).eval()
    torch.nn.init.normal_(model.head.weight, std=0.7)
    return model


PLANS = {
    "ancestral(1)": ancestral(1),
    "ancestral(5)": ancestral(5),
    "ancestral(50, cosine)": ancestral(50, Cosine()),
    "counts(1, 2, 3)": counts([1, 2, 3]),
    "first_hitting": first_hitting(),
    "left_to_right": left_to_right(),
    "confidence(1)": confidence(1),
    "confidence(3)": confidence(3),
    "confidence(100)": confidence(100),
    "threshold(0.4)": threshold(0.4),
    "threshold(1)": threshold(1.0),
    "blocks(2, ancestral)": blocks(2, ancestral(3)),
    "blocks(4, first_hitting)": blocks(4, first_hitting()),
    "blocks(4, confidence)": blocks(4, confidence(2)),
    "blocks(2, threshold)": blocks(2, threshold(0.3)),
    "blocks(8, left_to_right)": blocks(8, left_to_right()),
}
every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
patterns = st.lists(st.lists(st.booleans(), min_size=LONG, max_size=LONG), min_size=1, max_size=4).map(torch.tensor)


def prompt_with(masks: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return torch.where(masks, BIG_V, torch.randint(BIG_V, masks.shape, generator=seeded(seed)))


# --- drawing one token ------------------------------------------------------------------------------------------------


def test_draw_follows_the_softmax():
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0, -3.0])
    assert chi_square_p(draw(logits.expand(100_000, 5), seeded()), logits.softmax(0)) > 1e-3
    cold = draw(logits.expand(100_000, 5), seeded(), temperature=0.5)
    assert chi_square_p(cold, (2 * logits).softmax(0)) > 1e-3
    assert chi_square_p(cold, logits.softmax(0)) < 1e-6  # and the test would have seen the difference


def test_draw_from_small_probabilities():
    """A million draws at a time from masses down to 1e-6, with 5 million draws in all: five expected in the rarest
    cell.
    """
    p = torch.tensor([1e-6, 1e-5, 1e-4, 1e-3, 0.0, 1e-2, 0.0], dtype=torch.float64)
    p[4] = 1 - p.sum()
    generator = seeded(1)
    draws = torch.cat([draw_from(p.expand(1_000_000, 7), generator) for _ in range(5)])
    counts = torch.bincount(draws, minlength=7)
    assert counts[6] == 0 and counts[0] > 0 and chi_square_p(draws, p) > 1e-3


def test_draw_from_float32_rows_of_a_large_vocabulary():
    """Two halves of 25,000 equal tokens: float32 sums would have drifted, and the last token must stay in reach."""
    p = torch.full((50_000,), 1 / 50_000)
    draws = draw_from(p.expand(400, -1), seeded(2)).float()
    assert abs(draws.mean() - 24_999.5) < 4 * 14_434 / 20 and draws.max() < 50_000


def test_probability_zero_is_never_drawn():
    p = torch.tensor([0.0, 0.0, 1.0, 0.0, 2.0, 0.0])
    assert set(draw_from(p.expand(10_000, 6), seeded()).tolist()) == {2, 4}
    logits = torch.tensor([-torch.inf, 0.0, -torch.inf])
    assert draw(logits.expand(1000, 3), seeded()).unique().tolist() == [1]


@pytest.mark.parametrize("edge", [0.0, 1 - 2.0**-53])
def test_extreme_uniform_numbers_stay_on_possible_tokens(edge, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, edge, dtype=torch.float64))
    p = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]])
    assert draw_from(p).item() == (1 if edge == 0 else 3)


def test_draw_keeps_leading_shapes():
    p = torch.rand(2, 3, 4)
    assert draw_from(p, seeded()).shape == (2, 3)


def test_temperature_zero_takes_the_best():
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, -1.0, 0.0]])
    assert draw(logits, temperature=0).tolist() == [1, 0]
    assert probabilities(logits, temperature=0).tolist() == [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("top_p, kept", [
    (0.05, [1]), (0.4, [1]), (0.5, [1, 3]), (0.75, [0, 1, 3]), (1.0, [0, 1, 2, 3]),
])  # fmt: skip
def test_top_p_keeps_the_smallest_sufficient_set(top_p, kept):
    p = torch.tensor([0.2, 0.45, 0.1, 0.25], dtype=torch.float64)
    cut = probabilities(p.log(), top_p=top_p)
    assert cut.nonzero()[:, 0].tolist() == kept
    expected = torch.zeros(4, dtype=torch.float64).scatter(0, torch.tensor(kept), p[kept] / p[kept].sum())
    torch.testing.assert_close(cut, expected)
    assert chi_square_p(draw(p.log().expand(20_000, 4), seeded(), top_p=top_p), expected) > 1e-3


def test_half_precision_logits_are_drawn_in_float32():
    assert probabilities(torch.zeros(2, 3, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("settings", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.1}])
def test_bad_temperatures_are_refused(settings):
    with pytest.raises(ValueError, match="temperature must be"):
        draw(torch.zeros(1, 3), **settings)


@pytest.mark.parametrize("row", [[float("nan"), 1.0], [0.0, 0.0], [float("inf"), 1.0]])
def test_rows_that_are_no_probabilities_are_refused(row):
    with pytest.raises(ValueError, match="nothing can be drawn"):
        draw_from(torch.tensor([[0.5, 0.5], row]))


# --- exact samplers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("T", [1, 2, 4])
@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=str)
@pytest.mark.parametrize("denoiser", [EXACT, WITH_TIME], ids=["exact", "with time"])
def test_plan_sampler_step_sampler_and_enumeration_agree(T, schedule, denoiser):
    """Three ways to the T-step chain: drawn by plan, drawn step by step, and summed over all states."""
    process = masked(V, schedule)
    law = chain_law(denoiser, process, T)
    assert law.sum().item() == pytest.approx(1, abs=1e-12)
    by_plan = sample_masked(denoiser, ancestral(T, schedule), (N, L), generator=seeded(T))
    by_step = sample_discrete(process, denoiser, T, (N, L), generator=seeded(T))
    assert texts_p(by_plan.tokens, V, law) > 1e-3
    assert texts_p(by_step.tokens, V, law) > 1e-3
    assert bool((by_step.network_calls == T).all()) and bool((by_plan.network_calls <= min(T, L)).all())


def test_few_steps_are_measurably_wrong_and_many_are_not():
    """What the chi-square tests of this file can see: at 20,000 draws one step is refused, a thousand are not."""
    one = sample_masked(EXACT, ancestral(1), (N, L), generator=seeded())
    many = sample_masked(EXACT, ancestral(1000), (N, L), generator=seeded())
    assert texts_p(one.tokens, V, LANGUAGE.p) < 1e-6 and texts_p(many.tokens, V, LANGUAGE.p) > 1e-3


@pytest.mark.parametrize("plan", [first_hitting(), first_hitting(Cosine()), left_to_right(), blocks(1, confidence(1))])
def test_one_token_at_a_time_with_the_exact_denoiser_is_exact(plan):
    sample = sample_masked(EXACT, plan, (N, L), generator=seeded())
    assert texts_p(sample.tokens, V, LANGUAGE.p) > 1e-3
    assert bool((sample.network_calls == L).all())


def test_first_hitting_is_the_limit_of_ancestral_for_a_time_conditioned_network():
    """The network must be shown the moments themselves: the law of 500 steps, within what 20,000 draws can see."""
    linear, cosine = (
        sample_masked(WITH_TIME, first_hitting(schedule), (N, L), generator=seeded()).tokens
        for schedule in (Linear(), Cosine())
    )
    assert texts_p(linear, V, chain_law(WITH_TIME, masked(V), 500)) > 1e-3
    assert texts_p(cosine, V, chain_law(WITH_TIME, masked(V, Cosine()), 500)) > 1e-3
    assert texts_p(linear, V, chain_law(WITH_TIME, masked(V, Cosine()), 500)) < 1e-3  # times of the wrong schedule


def test_first_hitting_shows_the_order_statistics():
    """tau_n is the largest of n uniform numbers: mean n / (n + 1), for three masks 3/4, 2/4, 1/4; order uniform."""
    sample = sample_masked(EXACT, first_hitting(), (N, L), generator=seeded(), record=True)
    for step, frame in enumerate(sample.trajectory[1:]):
        assert frame.time.mean().item() == pytest.approx((L - step) / (L + 1), abs=0.006)
        assert bool((frame.written.sum(1) == 1).all())
    first = sample.trajectory[1].written.long().argmax(1)
    assert chi_square_p(first, torch.full((L,), 1 / L)) > 1e-3


@pytest.mark.parametrize("T", [2, 8, 64])
def test_ancestral_makes_T_1_minus_1_minus_1_over_T_to_the_L_calls(T, network):
    calls = sample_masked(network, ancestral(T), (4000, LONG), generator=seeded()).network_calls.double()
    expected = T * (1 - (1 - 1 / T) ** LONG)
    assert abs(calls.mean().item() - expected) < 5 * calls.std().item() / 4000**0.5 + 1e-9
    assert calls.max() <= min(T, LONG)


INFILL = [[V, 1, V], [0, V, V], [V, V, 2], [2, V, 1], [1, 0, V]]


@pytest.mark.parametrize("prompt", INFILL, ids=str)
def test_infilling_with_the_exact_denoiser_draws_the_conditional(prompt):
    prompt = torch.tensor(prompt)
    law = LANGUAGE.given(prompt[None])[0]
    canvas = prompt.expand(N, L)
    sample = sample_masked(EXACT, first_hitting(), (N, L), canvas, seeded())
    assert texts_p(sample.tokens, V, law) > 1e-3
    assert bool((sample.network_calls == (prompt == V).sum()).all())
    for T in (1, 3):
        law = chain_law(EXACT, masked(V), T, prompt)
        assert texts_p(sample_masked(EXACT, ancestral(T), (N, L), canvas, seeded()).tokens, V, law) > 1e-3
        assert texts_p(sample_discrete(masked(V), EXACT, T, (N, L), canvas, seeded()).tokens, V, law) > 1e-3


# --- what every plan keeps --------------------------------------------------------------------------------------------


@every_plan
@settings(max_examples=25)
@given(masks=patterns, seed=st.integers(0, 10), temperature=st.sampled_from([0.0, 0.7, 1.0]))
def test_every_plan_fills_masks_once_keeps_prompts_and_tells_the_truth(plan, network, masks, seed, temperature):
    prompt = prompt_with(masks, seed)
    sample = sample_masked(network, plan, tuple(prompt.shape), prompt, seeded(seed), temperature, record=True)
    assert torch.equal(sample.tokens[~masks], prompt[~masks]) and bool((sample.tokens < BIG_V).all())
    check_trajectory(sample, prompt, masks)
    assert bool((sample.network_calls <= masks.sum(1)).all())
    assert bool(((sample.network_calls == 0) == (masks.sum(1) == 0)).all())
    again = sample_masked(network, plan, tuple(prompt.shape), prompt, seeded(seed), temperature)
    assert torch.equal(again.tokens, sample.tokens) and again.trajectory is None


def check_trajectory(sample, prompt, masks):
    """Frames chain: each differs from the one before exactly where it says it wrote, every mask once; calls are the
    frames a row took part in.
    """
    frames = sample.trajectory
    assert torch.equal(frames[0].tokens, prompt) and not frames[0].written.any()
    assert torch.equal(frames[-1].tokens, sample.tokens)
    for before, after in zip(frames, frames[1:]):
        assert torch.equal(before.tokens != after.tokens, after.written)
        assert torch.equal(after.written, after.probability.isfinite())
        assert torch.equal(after.written, after.entropy.isfinite())
        wrote = after.probability[after.written]
        assert bool(((wrote > 0) & (wrote <= 1)).all()) and bool((after.entropy[after.written] >= 0).all())
        assert bool(((after.time >= 0) & (after.time <= 1)).all())
    written = torch.stack([frame.written for frame in frames])
    assert torch.equal(written.sum(0), masks.long())
    assert torch.equal(written.any(2).sum(0), sample.network_calls)


def reveal_counts(sample, row: int = 0) -> list[int]:
    return [n for frame in sample.trajectory if (n := int(frame.written[row].sum()))]


def equal_counts(n: int, T: int) -> list[int]:
    """n = 8, T = 3: 3, 3, 2."""
    return [count for step in range(T) if (count := n // T + (step < n % T))]


@given(masks=patterns, T=st.integers(1, 12))
def test_confidence_reveals_equal_counts_the_larger_first(network, masks, T):
    prompt = prompt_with(masks)
    sample = sample_masked(network, confidence(T), tuple(prompt.shape), prompt, seeded(), record=True)
    for row, n in enumerate(masks.sum(1).tolist()):
        assert reveal_counts(sample, row) == equal_counts(n, T)


@settings(max_examples=25)
@given(masks=patterns, T=st.integers(1, 5), size=st.sampled_from([1, 2, 4, 8]))
def test_blocks_finish_one_before_the_next(network, masks, T, size):
    prompt = prompt_with(masks)
    for inner in (ancestral(T), threshold(0.3), first_hitting(), confidence(T)):
        sample = sample_masked(network, blocks(size, inner), tuple(prompt.shape), prompt, seeded(), record=True)
        for before, after in zip(sample.trajectory, sample.trajectory[1:]):
            for row, block in after.written.nonzero().tolist():
                start = block // size * size
                assert bool((before.tokens[row, :start] < BIG_V).all())
    for row, per_block in enumerate(masks.view(len(masks), -1, size).sum(2).tolist()):  # the last one was confidence(T)
        assert reveal_counts(sample, row) == [count for n in per_block for count in equal_counts(n, T)]


def best_guesses(network, tokens):
    """(probability, token) of the network's best guess at every position, (B, L) each."""
    with torch.no_grad():
        return network(tokens).softmax(-1).max(-1)


@pytest.mark.parametrize("T", [1, 3, 8])
def test_greedy_confidence_takes_the_surest_positions(network, T):
    """Temperature 0 still ranks by the network's own probabilities (LLaDA); ranked by the drawn law, all would tie at
    1.
    """
    prompt = prompt_with(torch.rand(16, LONG, generator=seeded()) < 0.7)
    sample = sample_masked(network, confidence(T), (16, LONG), prompt, temperature=0, record=True)
    for before, after in zip(sample.trajectory, sample.trajectory[1:]):
        sure, token = best_guesses(network, before.tokens)
        open_to_choice = (before.tokens == BIG_V) & ~after.written
        for row in after.written.any(1).nonzero()[:, 0]:
            chosen = after.written[row]
            assert torch.equal(after.tokens[row][chosen], token[row][chosen])
            if open_to_choice[row].any():
                assert sure[row][chosen].min() >= sure[row][open_to_choice[row]].max() - 1e-6


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_greedy_threshold_takes_all_above_p_and_at_least_the_best(network, p):
    sample = sample_masked(network, threshold(p), (16, LONG), temperature=0, record=True)
    for before, after in zip(sample.trajectory, sample.trajectory[1:]):
        sure, _ = best_guesses(network, before.tokens)
        sure = sure.masked_fill(before.tokens < BIG_V, -1)
        for row in (before.tokens == BIG_V).any(1).nonzero()[:, 0]:
            expected = sure[row] > p
            expected[sure[row].argmax()] = True
            assert torch.equal(after.written[row], expected)
    assert bool((sample.network_calls == (1 if p == 0 else LONG)).all()) or 0 < p < 1


def test_threshold_adapts_its_calls(network):
    samples = [sample_masked(network, threshold(p), (64, LONG), generator=seeded()) for p in (0.9, 0.5, 0.2)]
    calls = [sample.network_calls.double().mean() for sample in samples]
    assert LONG >= calls[0] > calls[1] > calls[2] >= 1


def test_confidence_ignores_temperature_and_top_p_in_its_ranking():
    """Position 1 is surer of its best token than position 0: it goes first even where a cut makes both certain."""
    table = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    denoiser = TableDenoiser(3, 2, table.expand(16, 2, 3))
    for cut in ({"temperature": 0.0}, {"top_p": 0.3}):
        sample = sample_masked(denoiser, confidence(2), (8, 2), generator=seeded(), record=True, **cut)
        assert bool(sample.trajectory[1].written[:, 1].all())


@settings(max_examples=25)
@given(masks=patterns)
def test_left_to_right_goes_left_to_right(network, masks):
    prompt = prompt_with(masks)
    sample = sample_masked(network, left_to_right(), tuple(prompt.shape), prompt, seeded(), record=True)
    for row in range(len(masks)):
        order = [int(frame.written[row].nonzero()) for frame in sample.trajectory if frame.written[row].any()]
        assert order == masks[row].nonzero()[:, 0].tolist()
    for before, after in zip(sample.trajectory, sample.trajectory[1:]):  # shown: the share that is still masked
        live = after.written.any(1)
        torch.testing.assert_close(after.time[live], (before.tokens[live] == BIG_V).float().mean(1))


def test_rows_go_their_own_ways(network):
    """A row's text depends on its own prompt alone when nothing is random, whoever shares the batch."""
    prompt = prompt_with(torch.rand(6, LONG, generator=seeded(3)) < 0.6)
    together = sample_masked(network, confidence(3), (6, LONG), prompt, temperature=0)
    for row in range(6):
        alone = sample_masked(network, confidence(3), (1, LONG), prompt[row : row + 1], temperature=0)
        assert torch.equal(alone.tokens[0], together.tokens[row])
        assert alone.network_calls[0] == together.network_calls[row]


def test_the_network_sees_only_unfinished_rows_and_chosen_positions():
    class Spy(TableDenoiser):
        rows = heads = 0

        def hidden(self, z_t, t=None):
            self.rows += len(z_t)
            return super().hidden(z_t, t)

        def logits(self, h):
            assert h.ndim == 2
            self.heads += len(h)
            return h

    spy = Spy(V, L, EXACT.table)
    prompt = torch.tensor([[0, 1, 2], [V, 1, V], [V, V, V]])
    sample = sample_masked(spy, first_hitting(), (3, L), prompt, seeded())
    assert sample.network_calls.tolist() == [0, 2, 3] and spy.rows == 5 and spy.heads == 5


def test_dropout_or_not_no_gradients_are_kept(network):
    assert not sample_masked(network, confidence(2), (2, LONG)).tokens.requires_grad


# --- the step-by-step sampler -----------------------------------------------------------------------------------------


def test_reusing_predictions_changes_the_cost_only():
    process, T = masked(V), 20
    plain = sample_discrete(process, EXACT, T, (N, L), generator=seeded())
    reused = sample_discrete(process, EXACT, T, (N, L), generator=seeded(), reuse=True)
    assert torch.equal(plain.tokens, reused.tokens)  # the same random numbers, the same answers
    assert texts_p(reused.tokens, V, chain_law(EXACT, process, T)) > 1e-3
    assert bool((plain.network_calls == T).all()) and bool((reused.network_calls <= L + 1).all())
    expected = 1 + (T - 1) * (1 - (1 - 1 / T) ** L)  # the first call, then one after every step that changed something
    assert reused.network_calls.double().mean().item() == pytest.approx(expected, abs=0.03)


def test_reuse_is_refused_for_time_conditioned_networks():
    with pytest.raises(ValueError, match="cannot be reused"):
        sample_discrete(masked(V), WITH_TIME, 4, (2, L), reuse=True)


@pytest.mark.parametrize("reuse", [False, True])
def test_step_sampler_keeps_prompts_and_tells_the_truth(network, reuse):
    masks = torch.rand(32, LONG, generator=seeded(4)) < 0.6
    prompt = prompt_with(masks)
    sample = sample_discrete(masked(BIG_V), network, 6, (32, LONG), prompt, seeded(), reuse, record=True)
    assert torch.equal(sample.tokens[~masks], prompt[~masks])
    frames = sample.trajectory
    assert len(frames) == 7 and torch.equal(frames[0].tokens, prompt)
    for before, after in zip(frames, frames[1:]):
        assert torch.equal(before.tokens != after.tokens, after.written)
        assert torch.equal(after.written, after.probability.isfinite())
        assert bool((after.probability[after.written] > 0).all())
    assert torch.equal(torch.stack([frame.written for frame in frames]).sum(0), masks.long())


# --- the autoregressive twin ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twin() -> Transformer:
    torch.manual_seed(3)
    model = Transformer(TransformerConfig(V, L, width=16, layers=2, heads=2, causal=True)).eval()
    torch.nn.init.normal_(model.head.weight, std=0.5)
    return model


def twin_law(twin) -> torch.Tensor:
    with torch.no_grad():
        return (-autoregressive_nll(twin, all_sequences(V, L)).double().sum(1)).exp()


def test_autoregressive_frequencies_are_the_chain_rule(twin):
    law = twin_law(twin)
    assert law.max() > 3 * law.median()  # not nearly uniform, or nothing would be tested
    sample = sample_ar(twin, (N, L), generator=seeded())
    assert texts_p(sample.tokens, V, law) > 1e-3 and bool((sample.network_calls == L).all())


@pytest.mark.parametrize("prefix", [[1], [2, 0]])
def test_autoregressive_continuation_draws_the_conditional(twin, prefix):
    fits = (all_sequences(V, L)[:, : len(prefix)] == torch.tensor(prefix)).all(1)
    law = twin_law(twin) * fits
    sample = sample_ar(twin, (N, L), torch.tensor(prefix).expand(N, -1), seeded())
    assert texts_p(sample.tokens, V, law / law.sum()) > 1e-3
    assert bool((sample.network_calls == L - len(prefix)).all())


def test_autoregressive_greedy_and_trajectory(twin):
    sample = sample_ar(twin, (4, L), temperature=0, record=True)
    z = torch.full((4, 1), V)
    for i in range(L):
        with torch.no_grad():
            z = torch.cat([z, twin(z)[:, -1:].argmax(-1)], 1)
        assert sample.trajectory[i + 1].written.long().argmax(1).tolist() == [i] * 4
    assert torch.equal(sample.tokens, z[:, 1:])
    check_trajectory(sample, torch.full((4, L), V), torch.ones(4, L, dtype=torch.bool))


# --- longer than the canvas -------------------------------------------------------------------------------------------


def test_sliding_is_a_chain_of_conditionals():
    """Canvas 3, one new token a window: p(x1 x2 x3) p(x4 | x2 x3 as a beginning), text by text."""
    long = all_sequences(V, L + 1)
    canvas = torch.cat([long[:, 1:L], torch.full((len(long), 1), V)], 1)  # the last two tokens, then a mask
    forth = LANGUAGE.given(canvas)[torch.arange(len(long)), index_of(long[:, 1:], V)]
    law = LANGUAGE.p[index_of(long[:, :L], V)] * forth
    assert law.sum().item() == pytest.approx(1, abs=1e-12)
    sample = sample_sliding(EXACT, first_hitting(), (N, L + 1), new=1, generator=seeded())
    assert texts_p(sample.tokens, V, law) > 1e-3 and bool((sample.network_calls == L + 1).all())


@pytest.mark.parametrize("total, new", [(5, 2), (8, 3), (21, 3), (22, 3), (30, 7)])
def test_sliding_fills_any_length(network, total, new):
    sample = sample_sliding(network, left_to_right(), (3, total), new, seeded())
    assert sample.tokens.shape == (3, total) and bool((sample.tokens < BIG_V).all())
    assert bool((sample.network_calls == total).all())


# --- bad input --------------------------------------------------------------------------------------------------------


def test_prompt_canvas():
    assert prompt_canvas(torch.tensor([1, 2]), (2, 4), 9).tolist() == [[1, 2, 9, 9]] * 2
    with pytest.raises(ValueError, match="longer than the canvas"):
        prompt_canvas(torch.zeros(5, dtype=torch.long), (2, 4), 9)


@pytest.mark.parametrize("shape, prompt, message", [
    ((2, LONG + 1), None, "longer than the 8"),
    ((2, 4), torch.zeros(2, 5, dtype=torch.long), "does not fit"),
    ((2, 4), torch.zeros(4, dtype=torch.long), "does not fit"),
    ((2, 4), torch.zeros(2, 3, dtype=torch.long), "whole canvas"),
    ((2, 4), torch.zeros(3, 4, dtype=torch.long), "whole canvas"),
    ((2, 4), torch.full((2, 4), BIG_V + 1), r"0\.\.5"),
    ((2, 4), torch.full((2, 4), -1), r"0\.\.5"),
])  # fmt: skip
def test_canvases_that_do_not_fit_are_refused(network, shape, prompt, message):
    with pytest.raises(ValueError, match=message):
        sample_masked(network, first_hitting(), shape, prompt)
    with pytest.raises(ValueError, match=message):
        sample_discrete(masked(BIG_V), network, 2, shape, prompt)


@pytest.mark.parametrize("build, message", [
    (lambda: ancestral(0), "at least one step"),
    (lambda: confidence(0), "at least one step"),
    (lambda: threshold(1.5), r"\[0, 1\]"),
    (lambda: blocks(0, first_hitting()), "at least one position"),
], ids=["ancestral", "confidence", "threshold", "blocks"])  # fmt: skip
def test_impossible_plans_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_other_bad_input_is_refused(network, twin):
    with pytest.raises(ValueError, match="do not divide"):
        sample_masked(network, blocks(3, first_hitting()), (1, LONG))
    with pytest.raises(ValueError, match="at least one step"):
        sample_discrete(masked(BIG_V), network, 0, (1, LONG))
    with pytest.raises(ValueError, match="must agree"):
        sample_discrete(masked(BIG_V + 1), network, 2, (1, LONG))
    with pytest.raises(ValueError, match="new tokens"):
        sample_sliding(network, first_hitting(), (1, 20), new=LONG)
    with pytest.raises(ValueError, match="causal model"):
        sample_ar(network, (1, LONG))
    with pytest.raises(ValueError, match="fewer than 3"):
        sample_ar(twin, (1, L), torch.zeros(1, L, dtype=torch.long))
    with pytest.raises(ValueError, match="longer than the 3"):
        sample_ar(twin, (1, L + 1))
    with pytest.raises(ValueError, match=r"0\.\.2"):
        sample_ar(twin, (1, L), torch.full((1, 1), V))


@pytest.mark.parametrize("plan", [first_hitting(), confidence(2), threshold(0.5)])
def test_a_network_of_nan_stops_with_a_sentence(plan):
    with pytest.raises(ValueError, match="NaN"):
        sample_masked(TableDenoiser(V, L, torch.full_like(EXACT.table, torch.nan)), plan, (2, L))
