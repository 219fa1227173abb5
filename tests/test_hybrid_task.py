"""GIDD as a task of the training room: it learns, reports the bound and nothing else, and is the same run again."""

from dataclasses import replace

import pytest
import torch
from tiny_runs import TINY

from difflm_core.data import toy_language
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives import gidd_nelbo_warped, masked_nelbo
from difflm_core.processes import hybrid, masked
from difflm_core.training import RECIPES, Hybrid, Weights, train
from difflm_core.training.resume import differences, plain

MODEL = Transformer(TransformerConfig(V=11, length=8, width=16, layers=1, heads=2))
X = torch.randint(11, (16, 8), generator=torch.Generator().manual_seed(0))
T = torch.linspace(0.02, 0.98, 16)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("weights", list(Weights))
def test_whatever_trains_the_bound_is_reported(weights):
    task = Hybrid(0.2, weights)
    expected = gidd_nelbo_warped(hybrid(11, 0.2), MODEL, X, T, seeded())
    assert torch.equal(task.nelbo(MODEL, X, T, seeded()), expected)
    task.loss(MODEL, X, seeded()).mean().backward()
    assert bool(MODEL.head.weight.grad.isfinite().all())


def test_the_weightings_differ():
    losses = [Hybrid(0.2, weights).loss(MODEL, X, seeded()).mean().item() for weights in Weights]
    assert len({round(loss, 6) for loss in losses}) == len(Weights)


def test_no_random_tokens_are_masked_diffusion():
    """At t = u^3, times 3 u^2, the masked bound."""
    reference = masked_nelbo(masked(11), MODEL, X, T**3, seeded()) * 3 * T[:, None] ** 2
    assert torch.allclose(Hybrid(0.0).nelbo(MODEL, X, T, seeded()), reference, rtol=1e-4, atol=1e-5)


def test_it_trains_samples_and_says_so():
    recipe = replace(TINY, task=Hybrid(), steps=25, batch_size=32, learning_rate=2e-2, ema=0.5, evaluate_every=5)
    run = train(recipe, progress=False)
    bounds = [row["bound"] for row in run.history]
    assert bounds[-1] < bounds[0] and bounds[-1] > toy_language().entropy() / toy_language().length
    assert recipe.task.sample(run.model, (2, 12), seeded()).tokens.max() < toy_language().V
    labels = [label for label, _ in recipe.task.samplers(run.model, (2, 12), seeded())]
    assert labels == [f"posterior, T = {T}" for T in (2, 4, 8, 16, 64)]


def test_a_resumed_run_must_have_the_same_weights():
    one, other = (replace(TINY, task=Hybrid(0.2, weights)) for weights in (Weights.CLAMPED, Weights.RELATIVE))
    assert differences(plain(one), plain(one)) == []
    assert "task.weights" in differences(plain(one), plain(other))[0]


def test_recipes_and_refusals():
    recipe = RECIPES["gidd-tiny"][1]
    assert recipe.task == Hybrid(0.2, Weights.DYNAMIC) and recipe.size.time_conditioning
    with pytest.raises(ValueError, match="p_uniform is the share of random tokens"):
        Hybrid(1.0)
