"""Sampling in blocks: the law of the language from its exact denoiser, the uncached sampler's tokens, prompts, ends."""

from types import SimpleNamespace

import pytest
import torch
from enumerable import TinyLanguage, all_sequences, chi_square_p, index_of, texts_p
from hypothesis import given, settings
from hypothesis import strategies as st

from difflm_core.evaluation import order_nll
from difflm_core.models import BlockConfig, BlockTransformer
from difflm_core.samplers import (
    at_random,
    block_by_block,
    entropy_bound,
    lowest_entropy,
    sample_blocks,
    sample_in_order,
    sure_enough,
    surest,
    widest_margin,
)

V, L, N = 3, 4, 10_000
LANGUAGE = TinyLanguage(V, L)
TEXTS = all_sequences(V, L)
LONG = 12
every_size = pytest.mark.parametrize("size", [1, 2, 4])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class ExactBlocks:
    """The exact denoiser as a block network. What it keeps of a finished block are the tokens; it must need no more."""

    def __init__(self, language: TinyLanguage, size: int):
        self.V, self.length, self.block_size, self.config = language.V, language.length, size, SimpleNamespace(layers=1)
        self.table = language.denoiser()

    def read(self, x, cache):
        cache.layer(0).extend(x[:, None, :, None], x[:, None, :, None])

    def hidden(self, z, t=None, cache=None):
        past = cache.layer(0).keys[:, 0, :, 0] if cache.length else z[:, :0]
        assert len(past) == len(z) and past.shape[1] % self.block_size == 0 and z.shape[1] == self.block_size
        known = past.shape[1] + z.shape[1]
        rest = torch.full((len(z), self.length - known), self.V)
        return self.table.hidden(torch.cat([past, z, rest], 1))[:, past.shape[1] : known]

    def logits(self, h):
        return h


def network(size: int, V: int = 5, length: int = LONG) -> BlockTransformer:
    torch.manual_seed(0)
    model = BlockTransformer(BlockConfig(V, length, 16, 2, 2, block_size=size)).double().eval()
    torch.nn.init.normal_(model.head.weight, std=0.7)
    return model


# --- laws -------------------------------------------------------------------------------------------------------------


@every_size
def test_the_exact_denoiser_gives_the_language(size):
    rule = at_random(1, generator := seeded())
    out = sample_blocks(ExactBlocks(LANGUAGE, size), rule, (N, L), generator=generator)
    assert texts_p(out.tokens, V, LANGUAGE.p) > 1e-3


def test_two_words_in_a_call_do_not_and_the_test_would_see_it():
    out = sample_blocks(ExactBlocks(LANGUAGE, 2), at_random(2, generator := seeded()), (N, L), generator=generator)
    assert texts_p(out.tokens, V, LANGUAGE.p) < 1e-6


@pytest.mark.parametrize("known", [1, 2, 3])
@every_size
def test_after_a_prompt_the_law_is_the_conditional_one(size, known):
    prompt = torch.tensor([2, 0, 1])[:known]
    start = torch.full((1, L), V)
    start[0, :known] = prompt
    rule = at_random(1, generator := seeded(known))
    out = sample_blocks(ExactBlocks(LANGUAGE, size), rule, (N, L), prompt.expand(N, -1), generator=generator)
    assert torch.equal(out.tokens[:, :known], prompt.expand(N, -1))
    assert texts_p(out.tokens, V, LANGUAGE.given(start)[0]) > 1e-3


def cut(texts: torch.Tensor, end: int, known: int = 0) -> torch.Tensor:
    """All that follows the first end token behind the prompt is end, by hand."""
    rows = []
    for text in texts.tolist():
        place = text.index(end, known) if end in text[known:] else len(text)
        rows.append(text[:place] + [end] * (len(text) - place))
    return torch.tensor(rows)


@pytest.mark.parametrize("known", [0, 1])
@every_size
def test_up_to_its_end_a_text_follows_the_law(size, known):
    """The law of texts cut at their end token; a prompt made of end tokens ends nothing."""
    end, prompt = 1, torch.ones(N, known, dtype=torch.long)
    start = torch.full((1, L), V)
    start[0, :known] = end
    law = torch.zeros(len(TEXTS), dtype=torch.float64)
    law.index_add_(0, index_of(cut(TEXTS, end, known), V), LANGUAGE.given(start)[0])
    rule = at_random(1, generator := seeded())
    out = sample_blocks(ExactBlocks(LANGUAGE, size), rule, (N, L), prompt, end=end, generator=generator)
    assert texts_p(out.tokens, V, law) > 1e-3


@pytest.mark.parametrize("rule", [surest(), lowest_entropy(), sure_enough(0.5), entropy_bound(0.8)])
def test_a_deterministic_rule_has_a_likelihood(rule):
    """The network's own texts, sampled with a cache, against the product of probabilities without one."""
    model = network(2, V, L)
    law = (-order_nll(model, TEXTS, block_by_block(2, rule)).sum(1)).exp()
    assert law.sum().item() == pytest.approx(1, abs=1e-12)
    out = sample_blocks(model, rule, (4000, L), generator=seeded())
    assert chi_square_p(index_of(out.tokens, V), law) > 1e-3


# --- the cache --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [surest(), surest(2), widest_margin()])
@pytest.mark.parametrize("size", [1, 3, 4, 12])
def test_cached_and_uncached_write_the_same_text(size, rule):
    """In each call all rows reveal as many tokens, so both samplers use the random numbers in the same order."""
    model = network(size)
    cached = sample_blocks(model, rule, (5, LONG), generator=seeded())
    uncached = sample_in_order(model, block_by_block(size, rule), (5, LONG), generator=seeded())
    assert torch.equal(cached.tokens, uncached.tokens)
    reads = LONG // size - 1
    assert torch.equal(cached.network_calls, uncached.network_calls + reads)


def test_no_call_is_longer_than_it_must_be():
    """Whole blocks of the prompt in one call, then a block at a time, and no token twice into the cache."""
    model, seen, read = network(3), [], []
    hidden, reading = model.hidden, model.read
    model.hidden = lambda z, t=None, cache=None: seen.append((z.shape[1], cache.length)) or hidden(z, t, cache)
    model.read = lambda x, cache: read.append(x.shape[1]) or reading(x, cache)
    out = sample_blocks(model, surest(), (2, LONG), torch.zeros(2, 7, dtype=torch.long), generator=seeded())
    assert seen == [(3, 6), (3, 6), (3, 9), (3, 9), (3, 9)] and read == [6, 3]
    assert out.network_calls.tolist() == [7, 7]


def test_rows_that_need_fewer_calls_make_fewer():
    """Adaptive rules: every row is the text it would be alone (temperature 0), at its own price."""
    model, prompt = network(4), all_sequences(5, 2)
    out = sample_blocks(model, sure_enough(0.8), (25, LONG), prompt, temperature=0)
    assert out.network_calls.unique().numel() > 2
    for row in range(25):
        alone = sample_blocks(model, sure_enough(0.8), (1, LONG), prompt[row : row + 1], temperature=0)
        assert torch.equal(alone.tokens[0], out.tokens[row]) and alone.network_calls[0] == out.network_calls[row]


def test_temperature_zero_is_the_likeliest_token():
    model = network(3)
    one, other = (sample_blocks(model, surest(), (2, LONG), generator=seeded(s), temperature=0) for s in (0, 1))
    assert torch.equal(one.tokens, other.tokens)
    assert not torch.equal(sample_blocks(model, surest(), (2, LONG), generator=seeded()).tokens, one.tokens)


# --- every position once, prompts, ends -------------------------------------------------------------------------------

RULES = [surest(), surest(3), at_random(2, seeded()), sure_enough(0.3), entropy_bound(1.0)]


@settings(max_examples=20)
@given(st.sampled_from([1, 2, 3, 4, 6, 12]), st.integers(0, LONG - 1), st.sampled_from(RULES))
def test_every_position_is_filled_once_in_order_of_blocks(size, known, rule):
    prompt = torch.randint(5, (3, known), generator=seeded(known))
    out = sample_blocks(network(size), rule, (3, LONG), prompt, generator=seeded(), record=True)
    written = torch.stack([frame.written for frame in out.trajectory])  # (calls + 1, 3, L)
    assert torch.equal(written.sum(0), (torch.arange(LONG) >= known).long().expand(3, -1))
    assert torch.equal(out.tokens[:, :known], prompt) and int(out.tokens.max()) < 5
    moment = written.long().argmax(0)[:, known:]  # when each was written
    block = torch.arange(known, LONG) // size
    later = block[:, None] < block
    assert bool((moment[:, :, None] < moment[:, None, :])[:, later].all())
    for before, after in zip(out.trajectory, out.trajectory[1:]):
        assert torch.equal(before.tokens != after.tokens, after.written)
        assert bool((after.probability[after.written] > 0).all())
    assert torch.equal(out.trajectory[-1].tokens, out.tokens) and out.trajectory[-1].time.tolist() == [0, 0, 0]


def test_ended_rows_cost_nothing_more():
    model, end = network(3), 2
    free = sample_blocks(model, surest(), (40, LONG), generator=seeded())
    out = sample_blocks(model, surest(), (40, LONG), end=end, generator=seeded())
    first = torch.where((out.tokens == end).any(1), (out.tokens == end).long().argmax(1), LONG - 1)
    blocks = first // 3 + 1
    assert torch.equal(out.network_calls, 3 * blocks + blocks - 1)
    assert int(out.network_calls.min()) == 3 and int(out.network_calls.max()) > 3
    assert torch.equal(cut(out.tokens, end), out.tokens)
    assert torch.equal(out.tokens[:, :3], cut(free.tokens[:, :3], end))  # the first block does not know of ends


def test_a_canvas_may_be_shorter_than_the_model():
    assert sample_blocks(network(3), surest(), (2, 6), generator=seeded()).tokens.shape == (2, 6)


@pytest.mark.parametrize("call, message", [
    (lambda m: sample_blocks(m, surest(), (2, 10)), "Blocks of 4 do not divide a canvas of 10"),
    (lambda m: sample_blocks(m, surest(), (2, 16)), "longer than the 12"),
    (lambda m: sample_blocks(m, surest(), (2, 12), torch.tensor([[0, 5], [0, 1]])), r"no mask \(5\), got 0..5"),
    (lambda m: sample_blocks(m, surest(), (2, 12), torch.zeros(2, 12).long()), "fewer than 12 tokens"),
    (lambda m: sample_blocks(m, surest(), (2, 12), torch.zeros(3, 2).long()), r"got \(3, 2\)"),
    (lambda m: sample_blocks(m, surest(), (2, 12), end=5), "one of the tokens 0..4"),
    (lambda m: block_by_block(0, surest()), "at least one position"),
])  # fmt: skip
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(network(4))
