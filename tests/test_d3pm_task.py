"""D3PM as a task: the losses of `objectives.d3pm`, every step of the chain, and a run that learns."""

from dataclasses import replace

import pytest
import torch
from tiny_runs import SIZE, TINY

from difflm_core.objectives import d3pm_nelbo, d3pm_parts
from difflm_core.objectives.times import stratified_times
from difflm_core.training import D3PM, RECIPES, evaluate, train
from difflm_core.training.checkpoints import load_model
from difflm_core.training.d3pm_task import Noise

ABSORBING, UNIFORM = D3PM(lam=0.1, T=8, steps=4), D3PM(Noise.UNIFORM, lam=0.0, T=8, steps=4)
TIMED = replace(TINY, size=replace(SIZE, time_conditioning=True))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("task", [ABSORBING, UNIFORM], ids=["absorbing", "uniform"])
def test_loss_and_bound(task):
    model = task.network(20, 6, TIMED.size).eval()
    x = torch.randint(20, (4, 6), generator=seeded(1))
    t = stratified_times(4, seeded(2))
    bound = task.nelbo(model, x, t, seeded(3))
    assert torch.equal(bound, d3pm_nelbo(task.process(20), model, x, t, generator=seeded(3)))
    generator = seeded(2)
    t = stratified_times(4, generator)
    alone, loss = d3pm_nelbo(task.process(20), model, x, t, generator=generator), task.loss(model, x, seeded(2))
    assert torch.equal(loss, alone) if task.lam == 0 else bool((loss > alone).all())


def test_a_bound_on_the_whole_chain():
    """The mean over times is the sum of all steps, here with many draws of a small text."""
    model = ABSORBING.network(5, 3, TIMED.size).eval()
    x = torch.randint(5, (1, 3), generator=seeded(1)).expand(6000, 3)
    with torch.no_grad():
        drawn = ABSORBING.nelbo(model, x, stratified_times(6000, seeded(2)), seeded(3)).sum(1).mean()
        every = d3pm_parts(ABSORBING.process(5), model, x[:1500], 8, seeded(4)).nelbo.sum(1).mean()
    assert drawn.item() == pytest.approx(every.item(), rel=0.03)


@pytest.mark.parametrize("task", [ABSORBING, UNIFORM], ids=["absorbing", "uniform"])
def test_a_run_learns_samples_and_is_loaded(task, tmp_path):
    recipe = replace(TIMED, task=task, steps=30, batch_size=64, learning_rate=1e-2, evaluate_every=10, ema=0.5)
    bounds = [row["bound"] for row in train(recipe, tmp_path, progress=False).history]
    assert bounds[-1] < bounds[0] < 8
    model = load_model(tmp_path)
    assert evaluate(recipe, model).mean == bounds[-1]
    sample = task.sample(model, (3, 12), seeded())
    assert sample.network_calls.tolist() == [4] * 3 and int(sample.tokens.max()) < model.V
    assert [name for name, _ in task.samplers(model, (2, 12), seeded())] == [
        f"posterior, T = {T} of 8" for T in (2, 4, 8)
    ]


def test_settings():
    with pytest.raises(ValueError, match="steps must divide the T = 1000"):
        D3PM(steps=256)
    with pytest.raises(ValueError, match="lam weighs a loss"):
        D3PM(lam=-1)
    text8 = RECIPES["d3pm-text8"][1]
    assert text8.data.length == 256 and text8.task.T == 1000 and text8.steps * text8.batch_size == 512_000_000
