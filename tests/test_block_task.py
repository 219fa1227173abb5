"""Block diffusion as a task: it learns the toy language, reports the whole bound whatever it trains on, and samples."""

from dataclasses import replace

import pytest
import torch
from tiny_runs import TINY

from difflm_core.data import toy_language
from difflm_core.models import BlockTransformer
from difflm_core.objectives import block_nelbo, block_nelbo_by_count, block_times
from difflm_core.processes import masked
from difflm_core.training import Block, Engine, Size, load_model, train

SIZE = Size(width=16, layers=1, heads=2)
V, L = 11, 8
X = torch.randint(V, (16, L), generator=torch.Generator().manual_seed(0))
T = torch.linspace(0.02, 0.98, 16)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(task: Block, V: int = V, length: int = L) -> BlockTransformer:
    torch.manual_seed(0)
    return task.network(V, length, SIZE)


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (0.3, 0.8), (1.0, 1.0)])
def test_whatever_trains_the_whole_bound_is_reported(low, high):
    task = Block(4, low, high)
    model = build(task)
    expected = block_nelbo_by_count(masked(V), model, X, block_times(T, 2), seeded())
    assert torch.equal(task.nelbo(model, X, T, seeded()), expected)
    task.loss(model, X, seeded()).mean().backward()
    assert bool(model.head.weight.grad.isfinite().all())


def test_clipping_reaches_the_noise():
    """At [1, 1] everything is masked and paid once; at [0.3, 0.3] about a third is, at 1/0.3 of its price."""
    everything, third = Block(4, 1.0, 1.0), Block(4, 0.3, 0.3)
    model = build(everything)
    ones = torch.ones(16, 2)
    expected = block_nelbo(masked(V), model, X, ones)
    torch.testing.assert_close(everything.loss(model, X, seeded()), expected)
    share = torch.cat([third.loss(model, X, seeded(s)) for s in range(20)]) > 0
    assert share.float().mean().item() == pytest.approx(0.3, abs=0.04)


def test_one_token_a_block_is_exact():
    assert Block(1).exact and not Block(2).exact
    task = Block(1)
    model = build(task)
    assert torch.equal(task.nelbo(model, X, T, seeded(0)), task.nelbo(model, X, T, seeded(1)))


@pytest.mark.parametrize("task", [Block(4), Block(1, 1.0, 1.0), Block(3, 0.3, 0.8)], ids=["4", "1", "3, clipped"])
def test_it_learns_and_samples(task):
    language = toy_language()
    model, generator = build(task, language.V, language.length), seeded()
    held_out = language.sample(64, generator=seeded(1))
    t = torch.rand(64, generator=seeded(2))
    optimizer = torch.optim.AdamW(model.parameters(), 2e-2)
    before = task.nelbo(model, held_out, t, seeded()).mean().item()
    for _ in range(40):
        loss = task.loss(model, language.sample(32, generator=generator), generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = task.nelbo(model.eval(), held_out, t, seeded()).mean().item()
    assert language.entropy() / language.length < after < before - 0.5
    out = task.sample(model, (2, language.length), seeded())
    assert out.tokens.shape == (2, 12) and int(out.tokens.max()) < language.V
    assert out.network_calls.tolist() == [12 + 12 // task.block_size - 1] * 2


def test_a_recipe_of_blocks_is_trained_and_stored_as_any_other(tmp_path):
    recipe = replace(TINY, task=Block(3), steps=8)
    whole = train(recipe, tmp_path / "whole", progress=False)
    stored = load_model(tmp_path / "whole", V=114, length=12)
    assert isinstance(stored, BlockTransformer) and stored.block_size == 3
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, stored.state_dict()[name])
    labels = [label for label, sample in recipe.task.samplers(stored, (2, 12), seeded())]
    assert labels[-1] == "blocks of 3, one token a call" and len(labels) == 3
    recomputed = train(replace(recipe, engine=Engine(recompute=True)), progress=False)
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), recomputed.model.parameters()))


@pytest.mark.parametrize("make, message", [
    (lambda: Block(0), "at least one token"),
    (lambda: Block(4, 0.8, 0.3), "0 <= low <= high <= 1"),
    (lambda: Block(3).network(V, 8, SIZE), "Blocks of 3 do not divide a text of 8"),
    (lambda: Block(4).network(V, 8, Size(16, 1, 2, time_conditioning=True)), "nor a time input"),
])  # fmt: skip
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
