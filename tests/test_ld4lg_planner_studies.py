"""The studies of LD4LG and PLANNER run through, with next to no training, and say what lessons will look for."""

import pytest
import torch

from difflm_core.data import toy_language
from difflm_core.studies import ld4lg, planner

TINY = {"batch_size": 8, "width": 16, "layers": 1, "denoiser_layers": 1, "held_out": 16, "samples": 16}


@pytest.mark.slow
def test_ld4lg(monkeypatch):
    few = {"pretraining_steps": 2, "bottleneck_steps": 2, "denoiser_steps": 2, "steps": 2, "step_counts": [1, 2]}
    few |= {"bottlenecks": [[1, 4], [2, 4]], "usual": [2, 4], "noisy_at": [0.5], "weights": [1.0, 2.0], "texts": 16}
    monkeypatch.setattr(
        ld4lg, "SETTINGS", ld4lg.SETTINGS | TINY | few | {"denoiser_width": 16, "small_step_counts": [2]}
    )
    ld4lg.language_model.cache_clear(), ld4lg.encoded.cache_clear()
    rows = list(ld4lg.run(0))
    ld4lg.language_model.cache_clear(), ld4lg.encoded.cache_clear()
    sizes = [(row["N"], row["D_ae"]) for row in rows if row["what"] == "bottleneck"]
    assert sizes == [(1, 4), (2, 4), (12, 96)] and all(len(row["bleu_of_noisy"]) == 1 for row in rows if "own" in row)
    assert {row["given"] for row in rows if row["what"] == "alone"} == {"true texts", "own", "random", "noisy at 0.5"}
    made = [row for row in rows if row["what"] == "generation"]
    assert len(made) == len(ld4lg.NETWORKS) * 2 + 1 and {row["variance"] for row in made} == {"small", "large"}
    assert [row["weight"] for row in rows if row["what"] == "guidance"] == [1.0, 2.0]
    assert [row["N"] for row in rows if row["what"] == "size"] == [1]
    assert [row["kind"] for row in rows if row["what"] == "uncompressed"] == ["v", "x"]
    assert all(0 <= row["grammatical"] <= 1 for row in rows if "grammatical" in row) and all(map(ld4lg.told, rows))


@pytest.mark.slow
def test_planner(monkeypatch):
    few = {"steps": 2, "denoiser_steps": 2, "D_ae": 4, "codes": [1, 2], "betas": [0.0, 0.1], "times": [0.1, 0.9]}
    few |= {"usual": {"N": 2, "beta": 0.1, "share": 0.3}, "step_counts": [2], "weights": [2.0], "plan_steps": 2}
    few |= {"swapped_shares": [0.0, 0.3]}
    monkeypatch.setattr(planner, "SETTINGS", planner.SETTINGS | TINY | few)
    rows = list(planner.run(0))
    codes = [row for row in rows if row["what"] == "codes"]
    assert len(codes) == 4 and all(len(row["kl"]) == row["N"] for row in codes)
    assert codes[0]["entropy"] == pytest.approx(21.05, abs=0.01) and codes[0]["bound"] > codes[0]["entropy"]
    assert all(0 <= row["between"]["by_chance"] <= 1 and 0 <= row["between"]["kept"] <= 1 for row in codes)
    made = [row for row in rows if row["what"] == "texts"]
    assert [row["source"] for row in made] == 3 * ["N(0, I)", "one Gaussian", "diffusion"]
    plans = {row["by"]: row for row in rows if row["what"] == "plan"}
    assert set(plans) == {"steps", "weight", "trajectory", "noise"}
    assert plans["trajectory"]["there"]["words"][-1] == 1 and len(plans["trajectory"]["t"]) == 3
    assert 0 <= plans["noise"]["aubleu_over_1_minus_alpha"] <= 1 and all(map(planner.told, rows))


def test_one_gaussian_has_the_moments_of_the_codes():
    codes = torch.randn(500, 2, 3, generator=planner.seeded(0)).cumsum(2) + 1
    drawn = planner.one_gaussian(codes, 20_000, planner.seeded(1)).flatten(1)
    torch.testing.assert_close(drawn.mean(0), codes.flatten(1).mean(0), rtol=0, atol=0.05)
    torch.testing.assert_close(drawn.T.cov(), codes.flatten(1).T.cov(), rtol=0, atol=0.12)


def test_what_is_there_at_a_step():
    """Two texts, three steps: words count against the last step, and what all texts share is said."""
    last = toy_language().sample(2, generator=planner.seeded(3))
    first = last.clone()
    first[:, :6] = (first[:, :6] + 1) % toy_language().V
    row = planner.coarse_to_fine(torch.stack([first, last, last]))
    assert row["there"]["words"] == [0.5, 1.0, 1.0] and row["there"]["colour"][-1] == 1
    assert row["chance"]["words"] == (last[0] == last[1]).double().mean().item()
