"""The scoreboard in small: every method's rows, equal parameters, FLOPs by hand, and a study that goes on."""

import json
import math
from dataclasses import replace
from functools import cache, partial

import pytest
import torch
from matplotlib import pyplot as plt
from torch import nn

from difflm_core.classroom.pictures import lesson_12
from difflm_core.data import toy_language
from difflm_core.models import ErrorPredictor, MaskedEncoder, Transformer, TransformerConfig
from difflm_core.studies import kept_rows, scoreboard, scoreboard_latents, scoreboard_methods, store
from difflm_core.studies.flops import cost, flops_of, spend
from difflm_core.studies.scoreboard_methods import all_parameters, own_parameters
from difflm_core.training import Size, latent_tasks
from difflm_core.training.plan import needs
from difflm_core.training.recipes import RECIPES
from difflm_core.training.state import build

SMALL = {
    "budget": 3e7,
    "texts": 64,
    "most_calls": 12,
    "samples": 6,
    "held_out": 8,
    "draws": 2,
    "timed": 2,
    "repeats": 1,
}


def smaller(recipe):
    return replace(recipe, size=replace(recipe.size, width=16, layers=1, heads=2), batch_size=8)


@cache
def tiny_encoder() -> MaskedEncoder:
    language = toy_language()
    return MaskedEncoder("tiny", Transformer(TransformerConfig(language.V, language.length, 16, 1, 2)))


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(store, "RESULTS", tmp_path / "lessons" / "results")
    monkeypatch.setattr(scoreboard, "SETTINGS", dict(SMALL))
    monkeypatch.setattr(scoreboard, "SEEDS", (0,))
    methods, latents = scoreboard_methods, scoreboard_latents
    monkeypatch.setattr(methods, "TEXTS", SMALL["texts"])
    monkeypatch.setattr(methods, "FOR_GSTAR", smaller(methods.FOR_GSTAR))
    monkeypatch.setattr(methods, "PREDICTOR_ROWS", 8)
    monkeypatch.setattr(latent_tasks, "MEASURED", 2)
    for name in ("pretrained", "tuned_encoder"):
        monkeypatch.setattr(latents, name, tiny_encoder)
    for name in ("LD4LG", "PLANNER", "TENCDM", "COSMOS"):
        recipe = smaller(getattr(latents, name))
        monkeypatch.setattr(latents, name, replace(recipe, task=replace(recipe.task, width=16)))
    few = {
        name: how._replace(train=partial(how.train.func, smaller(how.train.args[0])))
        for name, how in scoreboard.METHODS.items()
        if isinstance(how.train, partial)
    }
    monkeypatch.setattr(scoreboard, "METHODS", scoreboard.METHODS | few)
    for memory in (methods.training_texts, latents.tuned_states):
        memory.cache_clear()
    kept_rows.folder_of("scoreboard").mkdir(parents=True)
    yield tmp_path
    for memory in (methods.training_texts, latents.tuned_states):
        memory.cache_clear()


def finite(value) -> bool:
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    return value is None or isinstance(value, str) or math.isfinite(value)


@pytest.mark.slow
def test_every_method_has_its_rows(small, capsys):
    scoreboard.main()
    study = json.loads((small / "lessons" / "results" / "scoreboard.json").read_text())
    assert not kept_rows.folder_of("scoreboard").exists() and all(map(finite, study["runs"]))
    assert all(scoreboard.told(row) for row in study["runs"])
    rows = {
        what: [row for row in study["runs"] if row["what"] == what] for what in ("true", "method", "texts", "seconds")
    }
    assert len(rows["true"]) == 1 and {row["method"] for row in rows["method"]} == set(scoreboard.METHODS)
    for row in rows["method"]:
        assert (
            0 < row["flops"] <= SMALL["budget"]
            and abs(row["flops"] - sum(s["flops"] for s in row["stages"].values())) < 1
        )
        assert (row["bound"] is None) == bool(row.get("no_bound"))
        assert (row["method"] in scoreboard_latents.METHODS) == bool(row["pretrained"])
    shown = {(row["method"], row["sampler"], row["calls"]) for row in rows["texts"]}
    assert shown == {(row["method"], row["sampler"], row["calls"]) for row in rows["seconds"]}
    assert {("mdlm", "star", 4), ("mdlm", "remdm", 1), ("gstar", "gstar", 4), ("block", "blocks", 3)} <= shown
    calls = {(row["method"], row["calls"]): row["network_calls"] for row in rows["texts"]}
    assert calls["tencdm", 4] == 5 and calls["ld4lg", 4] == 4 + 12 and calls["d3pm_uniform", 4] == 4
    assert calls["ar", 12] == 12 and calls["block", 12] == 12 + 2
    assert calls["block", 3] == 3 + 2, "one call a block, and two blocks read into the cache"
    assert {(row["method"], row["sampler"]) for row in rows["texts"]} == set(lesson_12.WRITERS)
    lines = lesson_12.table(study).splitlines()
    assert len(lines) == 1 + len(lesson_12.WRITERS) + 1 + 1 + 1 + 5, "five methods without a bound, and two samplers"
    assert len(lesson_12.costs(study).splitlines()) == 1 + len(scoreboard.METHODS)
    for against in ("network_calls", "seconds"):
        fig, alt, caption = lesson_12.frontiers(study, against)
        assert "COSMOS" in alt and study["command"] in caption and len(fig.axes) == 2
        plt.close(fig)


def test_parameters_are_equal_within_a_tenth():
    V, encoder = toy_language().V, scoreboard_latents.pretrained()
    counts = {}
    for name, how in scoreboard.METHODS.items():
        if isinstance(how.train, partial):
            counts[name] = all_parameters(build(how.train.args[0], V))
    net = build(scoreboard_methods.FOR_GSTAR, V)
    counts["gstar"] = own_parameters(nn.ModuleDict({"denoiser": net, "predictor": ErrorPredictor.last_block(net)}))
    for name in ("ld4lg", "planner", "tencdm", "cosmos"):
        recipe = getattr(scoreboard_latents, name.upper())
        counts[name] = all_parameters(scoreboard_latents.parts_of(recipe, encoder, 0))
    assert set(counts) == set(scoreboard.METHODS)
    assert all(abs(count / counts["mdlm"] - 1) < 0.1 for count in counts.values()), counts


def test_flops_of_a_transformer_by_hand():
    """Forward 2 a weight and token, backward twice that; attention compares and mixes, and in the backward pass
    compares once more."""
    recipe = replace(scoreboard_methods.AR, size=Size(width=16, layers=1, heads=2), batch_size=8)
    net, x = build(recipe), toy_language().sample(8)
    B, L, w, V = 8, x.shape[1], 16, toy_language().V
    forward, backward = 4 * L * w, 10 * L * w
    counted = flops_of(lambda: recipe.task.loss(net, x).mean().backward())
    assert counted == B * L * (6 * 12 * w * w + forward + backward + 6 * V * w)
    assert scoreboard_methods.step_flops(recipe) == counted


def linear_training(more: int):
    def train(net: nn.Linear, steps: int):
        with torch.no_grad():
            net(torch.ones(4, 8))  # once: 2 x 4 x 8 x 8
        for _ in range(steps):
            for _ in range(more):
                net.zero_grad()
                net(torch.ones(4, 8)).sum().backward()  # forward 512, gradient of the weights 512
        trained.append(steps)

    trained = []
    return train, trained


def test_a_budget_is_spent_in_whole_steps_and_never_passed():
    net = nn.Linear(8, 8, bias=False)
    train, trained = linear_training(1)
    assert cost(net, train) == (1024, 512)
    spent = spend(512 + 5 * 1024 + 1000, net, train)
    assert (spent.steps, spent.flops, trained[-1]) == (5, 512 + 5 * 1024, 5)
    double, _ = linear_training(2)
    assert spend(512 + 3 * 1536, net, train, (train, double)).steps == 3, "a coin between 1,024 and 2,048"
    with pytest.raises(ValueError, match="raise the budget"):
        spend(600, net, train)


def test_an_interrupted_study_goes_on_with_the_cell_it_was_in(monkeypatch, tmp_path):
    monkeypatch.setattr(store, "RESULTS", tmp_path / "lessons" / "results")
    cells, ran = [{"seed": seed} for seed in range(3)], []

    def run(seed, stop=1):
        ran.append(seed)
        yield {"x": seed}
        if seed == stop:
            raise KeyboardInterrupt
        yield {"x": -seed}

    with pytest.raises(KeyboardInterrupt):
        kept_rows.over_cells("mine", {"n": (1, 2)}, cells, run, str)
    path = kept_rows.folder_of("mine") / "rows.jsonl"
    path.write_text(path.read_text() + '{"cell": {"se')  # cut off while it was written
    rows, took = kept_rows.over_cells("mine", {"n": (1, 2)}, cells, partial(run, stop=None), str)
    assert ran == [0, 1, 1, 2] and [row["x"] for row in rows] == [0, 0, 1, -1, 2, -2] and took > 0
    with pytest.raises(ValueError, match="other settings"):
        kept_rows.over_cells("mine", {"n": 3}, cells, run, str)
    kept_rows.forget("mine")
    assert not path.parent.exists()


def test_figures_tell_copies_and_gaps(small):
    seen = scoreboard_methods.training_texts()[:6]
    found = scoreboard.figures(seen)
    assert found["copied"] == 1 and found["grammatical"] == 1 and 0 < found["coverage"] < 1
    assert scoreboard.coverage(toy_language().sample(6, generator=torch.Generator().manual_seed(77))) == 1
    wrong = seen.clone()
    wrong[:3, 0] = seen[:3, -1]
    assert scoreboard.figures(wrong)["copied"] == 0.5


def test_recipes_on_sentences_have_one_budget():
    runs = {name: needs(recipe) for name, (_, recipe) in RECIPES.items() if name.endswith("-sentences")}
    mdlm = runs.pop("mdlm-sentences")
    assert set(runs) == {
        f"{method}-sentences" for method in ("ar", "block", "gidd", "d3pm", "d3pm-uniform", "diffusion-lm")
    }
    for run in runs.values():
        assert abs(run.parameters / mdlm.parameters - 1) < 0.01 and abs(run.flops / mdlm.flops - 1) < 0.001
