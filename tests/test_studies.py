"""What all studies share: rows over seeds, stored whole, each told in a line; one set of figures for toy sentences."""

import importlib
import json

import pytest
import torch

from difflm_core.classroom.lesson import load_results
from difflm_core.data import toy_language
from difflm_core.samplers import Sample
from difflm_core.studies import store
from difflm_core.studies.__main__ import NAMES
from difflm_core.studies.toy_quality import of_sample, quality

TOLD = [name for name in NAMES if hasattr(importlib.import_module(f"difflm_core.studies.{name}"), "told")]


def test_rows_of_all_seeds_are_stored_with_their_seed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(store, "RESULTS", tmp_path / "results")
    path = store.over_seeds(
        "mine", {"n": 2}, (3, 5), lambda seed: ({"x": seed * i} for i in range(2)), lambda r: f"<{r['x']}>"
    )
    stored = json.loads(path.read_text())
    assert stored["runs"] == [{"seed": s, "x": s * i} for s in (3, 5) for i in range(2)] and stored["settings"] == {
        "n": 2
    }
    assert stored["command"] == "python -m difflm_core.studies.mine"
    said = capsys.readouterr().out
    assert "seed 5   <5>" in said and "(4 runs" in said


def test_a_study_that_breaks_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "RESULTS", tmp_path)

    def run(seed):
        yield {"x": 1}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.over_seeds("mine", {}, (0,), run, str)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [name for name in TOLD if (store.RESULTS / f"{name}.json").exists()])
def test_stored_rows_can_be_told(name):
    told = importlib.import_module(f"difflm_core.studies.{name}").told
    lines = [told(row) for row in load_results(name)["runs"]]
    assert all(isinstance(line, str) and line for line in lines)


def test_quality_sees_what_is_broken_and_what_is_narrow():
    language = toy_language()
    true = language.sample(400, generator=torch.Generator().manual_seed(0))
    fine, narrow = quality(true), quality(true[:1].expand(400, -1))
    assert fine["grammatical"] == 1 and fine["broken"] == 0 and abs(fine["log_prob_gap"]) < 1
    assert narrow["spread"] == 0 and narrow["distinct"] == 1 / 400 and fine["spread"] > 2
    true[::4, 0] = true[::4, 1]
    assert quality(true)["broken"] == 0.25 and quality(true[:1], least=1)["log_prob_gap"] is None
    calls = torch.arange(400)
    assert of_sample(Sample(true, calls)) == {**quality(true), "network_calls": 199.5}
