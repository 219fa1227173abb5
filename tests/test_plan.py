"""--plan against what a step really does: FLOPs as PyTorch counts them, bytes as autograd keeps them."""

from dataclasses import replace

import pytest
import torch
from tiny_runs import SIZE, TINY
from torch.utils.flop_counter import FlopCounterMode

from difflm_core import data
from difflm_core.training import D3PM, RECIPES, Autoregressive, Block, EmbeddingDiffusion, Hybrid, plan
from difflm_core.training.__main__ import main
from difflm_core.training.d3pm_task import Noise
from difflm_core.training.paper_recipes import EXPECTED, PAPERS
from difflm_core.training.plan import expected, needs, utilisation, vocabulary
from difflm_core.training.recipes import Engine
from difflm_core.training.state import State, build

WIDE = replace(TINY, size=replace(SIZE, width=64, layers=3), batch_size=64, steps=1)
CASES = {
    "masked": (WIDE, 0.02),  # the number of masks is a chance
    "twin": (replace(WIDE, task=Autoregressive()), 0.001),
    "hybrid": (replace(WIDE, task=Hybrid()), 0.001),
    "vectors": (replace(WIDE, task=EmbeddingDiffusion(D=8, T=20, steps=5)), 0.02),  # the input needs no gradient
    "d3pm, masks": (replace(WIDE, task=D3PM(T=64, steps=64)), 0.02),
    "d3pm, uniform": (replace(WIDE, task=D3PM(Noise.UNIFORM, lam=0.0, T=64, steps=64)), 0.001),
    "blocks": (replace(WIDE, task=Block(3)), 0.02),
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


def test_utilisation_by_hand():
    """One block of width D: 12 D^2 weights, attention 12 D L, the head at half of the positions."""
    recipe = replace(TINY, size=replace(SIZE, width=16, layers=1), steps=7, batch_size=8)
    D, L, V = 16, 12, recipe.data.V
    step = 8 * L * (6 * 12 * D**2 + 12 * D * L + 6 * 0.5 * V * D)
    assert utilisation(recipe, 0.5, 1e9, 2) == pytest.approx(step / (0.5 * 2 * 1e9))
    again = replace(recipe, engine=Engine(recompute=True))
    assert needs(again).flops > needs(recipe).flops and utilisation(again, 1, 1) == utilisation(recipe, 1, 1)
    assert needs(replace(TINY, engine=Engine(fsdp=True)), processes=4).state == needs(TINY).state / 4


def test_parameters_are_the_papers():
    """GIDD: 169.6 M (92 M without embeddings and head) and 424.5 M (321 M) in the authors' configurations, whose time
    input is 128 numbers wide; ours is as wide as the network. MDLM's trunk: 12 blocks of 12 x 768^2.
    """
    for name, without, everything in (("small", 92e6, 169.6e6), ("base", 321e6, 424.5e6)):
        recipe = RECIPES[f"gidd-owt-{name}-p0.1"][1]
        width, layers, V = recipe.size.width, recipe.size.layers, vocabulary(recipe)
        tables = (2 * V + 1 + recipe.data.length) * width
        wider = layers * 6 * width * (width - 128)
        ours = needs(recipe).parameters - wider
        assert ours - tables == pytest.approx(without, rel=0.012)
        assert ours == pytest.approx(everything, rel=0.012)
    mdlm = RECIPES["mdlm-owt"][1]
    assert needs(mdlm).parameters == (2 * 50_257 + 1 + 1024) * 768 + 12 * (12 * 768**2 + 2 * 768) + 768
    assert 1.2e9 < needs(RECIPES["llada-1b"][1]).parameters < 1.4e9


def test_figures_are_those_of_the_papers():
    assert "23.05" in expected("mdlm-owt", RECIPES["mdlm-owt"][1]) and "17.54" in EXPECTED["ar-owt"]
    assert "1.45 ± 0.02 bits per character" in EXPECTED["d3pm-text8"] and "1.61" in EXPECTED["d3pm-uniform-text8"]
    assert set(PAPERS) == set(EXPECTED)


def test_shares_and_totals():
    one, two = needs(TINY), needs(replace(TINY, steps=24, engine=Engine(accumulate=2)))
    assert (two.tokens, two.flops) == (2 * one.tokens, 2 * one.flops) and two.activations == one.activations / 2
    assert needs(TINY, processes=4).activations == one.activations / 4
    assert one.tokens == 12 * 8 * 12 and one.state == 20 * build(TINY).parameters_count()


def test_every_recipe_is_planned_without_its_data(monkeypatch, capsys):
    def unreachable(*arguments, **named):
        raise AssertionError("a plan fetches nothing")

    for name in ("hub", "shakespeare", "wikipedia_sentences", "open_token_files"):
        monkeypatch.setattr(data, name, unreachable)
    monkeypatch.setattr(plan, "measured_peak", lambda: 1e11)  # 0.2 seconds each
    for name in RECIPES:
        # your own text says how many characters it has; others of these families differ in a number only
        if name != "mdlm-text" and not name.endswith(("-p0.0", "-p0.2", "owt-4", "owt-8")):
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
