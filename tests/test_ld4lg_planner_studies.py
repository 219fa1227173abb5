"""The studies of LD4LG and PLANNER run through, with next to no training, and say what lessons will look for."""

import pytest

from difflm_core.studies import ld4lg, planner

TINY = {"batch_size": 8, "width": 16, "layers": 1, "denoiser_layers": 1, "held_out": 16, "samples": 16}


def test_ld4lg(monkeypatch):
    few = {"pretraining_steps": 2, "bottleneck_steps": 2, "denoiser_steps": 2, "guided_steps": 2, "step_counts": [1, 2]}
    few |= {"bottlenecks": [[1, 4], [2, 4]], "usual": [2, 4], "noisy_at": [0.5], "weights": [1.0, 2.0]}
    monkeypatch.setattr(ld4lg, "SETTINGS", ld4lg.SETTINGS | TINY | few)
    rows = list(ld4lg.run(0))
    assert [row["what"] for row in rows].count("bottleneck") == 2
    assert {row["given"] for row in rows if row["what"] == "alone"} == {"own", "random", "noisy at 0.5"}
    made = [row for row in rows if row["what"] == "generation"]
    assert len(made) == len(ld4lg.NETWORKS) * 2 * 2 and {row["variance"] for row in made} == {"small", "large"}
    assert [row["weight"] for row in rows if row["what"] == "guidance"] == [1.0, 2.0]
    assert all(0 <= row["grammatical"] <= 1 for row in rows if "grammatical" in row) and all(map(ld4lg.told, rows))


def test_planner(monkeypatch):
    few = {"steps": 2, "denoiser_steps": 2, "D_ae": 4, "codes": [1, 2], "betas": [0.0, 0.1], "times": [0.1, 0.9]}
    few |= {"usual": {"N": 2, "beta": 0.1, "share": 0.3}, "step_counts": [2], "weights": [2.0], "plan_steps": 2}
    monkeypatch.setattr(planner, "SETTINGS", planner.SETTINGS | TINY | few)
    rows = list(planner.run(0))
    codes = [row for row in rows if row["what"] == "codes"]
    assert len(codes) == 5 and all(len(row["kl"]) == row["N"] for row in codes)
    assert codes[0]["entropy"] == pytest.approx(21.05, abs=0.01) and codes[0]["bound"] > codes[0]["entropy"]
    plans = {row["by"]: row for row in rows if row["what"] == "plan"}
    assert set(plans) == {"steps", "weight", "trajectory", "noise"}
    assert plans["trajectory"]["words"][-1] == 1 and len(plans["trajectory"]["words"]) == 3
    assert 0 <= plans["noise"]["aubleu_over_1_minus_alpha"] <= 1 and all(map(planner.told, rows))
