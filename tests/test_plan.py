"""--plan against what a step really does: FLOPs as PyTorch counts them, bytes as autograd keeps them."""

from dataclasses import replace

import pytest
import torch
from tiny_runs import SIZE, TINY
from torch.utils.flop_counter import FlopCounterMode

from difflm_core import data
from difflm_core.training import RECIPES, Autoregressive, EmbeddingDiffusion, Hybrid
from difflm_core.training.__main__ import main
from difflm_core.training.plan import needs, vocabulary
from difflm_core.training.recipes import Engine
from difflm_core.training.state import State, build

WIDE = replace(TINY, size=replace(SIZE, width=64, layers=3), batch_size=64, steps=1)
CASES = {
    "masked": (WIDE, 0.02),  # the number of masks is a chance
    "twin": (replace(WIDE, task=Autoregressive()), 0.001),
    "hybrid": (replace(WIDE, task=Hybrid()), 0.001),
    "vectors": (replace(WIDE, task=EmbeddingDiffusion(D=8, T=20, steps=5)), 0.02),  # the input needs no gradient
    "recomputed": (replace(WIDE, task=Autoregressive(), engine=Engine(recompute=True)), 0.001),
}


@pytest.mark.parametrize("case", CASES)
def test_flops_are_those_of_a_step(case):
    recipe, tolerance = CASES[case]
    state = State(recipe)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        state.gradient()
    told = needs(recipe)
    assert told.flops == pytest.approx(counter.get_total_flops(), rel=tolerance)
    assert told.parameters == state.model.parameters_count() and told.V == state.model.V


def test_activations_are_near_what_autograd_keeps():
    """In 16 bits, less the head's logits; matrices and their transposes are the same memory."""
    recipe = replace(WIDE, size=replace(SIZE, width=64, layers=8), engine=Engine(bf16=True))
    state, kept, alive = State(recipe), {}, []
    weights = {p.untyped_storage().data_ptr() for p in state.model.parameters()}

    def keep(x):
        alive.append(x)  # or its memory would be counted again under another tensor
        if x.untyped_storage().data_ptr() not in weights:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        nats = state.nats(next(state.batches), torch.arange(64))
    assert needs(recipe).activations == pytest.approx(sum(kept.values()), rel=0.05)
    assert nats.requires_grad


def test_shares_and_totals():
    one, two = needs(TINY), needs(replace(TINY, steps=24, engine=Engine(accumulate=2)))
    assert (two.tokens, two.flops) == (2 * one.tokens, 2 * one.flops) and two.activations == one.activations / 2
    assert needs(TINY, processes=4).activations == one.activations / 4
    assert one.tokens == 12 * 8 * 12 and one.state == 20 * build(TINY).parameters_count()


def test_every_recipe_is_planned_without_its_data(monkeypatch, capsys):
    def unreachable(*arguments, **named):
        raise AssertionError("a plan fetches nothing")

    for name in ("hub", "shakespeare", "wikipedia_sentences"):
        monkeypatch.setattr(data, name, unreachable)
    for name in RECIPES:
        if name != "mdlm-text":  # your own text says how many characters it has
            assert main([name, "--plan"]) == 0
            said = capsys.readouterr().out
            assert said.startswith(f"{name}: ") and all(word in said for word in ("tokens", "H200", "expect", "memory"))
    assert vocabulary(RECIPES["mdlm-lm1b"][1]) == 30_522
    lm1b = needs(RECIPES["mdlm-lm1b"][1])
    assert lm1b.tokens == 65_536_000_000 and 130e6 < lm1b.parameters < 135e6


def test_a_plan_leaves_no_trace(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    assert main(["mdlm-tiny", "--plan"]) == 0
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3)) and not list(tmp_path.iterdir())
    assert "entropy" in capsys.readouterr().out
