"""The studies of TEncDM and COSMOS in small: every cell runs, and its row has what a lesson plots."""

import math

import torch

from difflm_core.data import toy_language
from difflm_core.studies import cosmos, tencdm

SMALL = {
    "width": 16, "layers": 1, "train_steps": 2, "batch_size": 8, "steps": 3, "samples": 6, "decoder_steps": 2,
    "decoder_layers": 1, "step_counts": [2, 3], "read_at": [0.1, 0.9], "autoencoder_steps": 2, "denoiser_layers": 1,
    "noise_at": [0.0, 0.5],
}  # fmt: skip


def shrink(monkeypatch, study):
    for name in SMALL.keys() & study.SETTINGS.keys():
        monkeypatch.setitem(study.SETTINGS, name, SMALL[name])


def test_a_cell_of_tencdm(monkeypatch):
    shrink(monkeypatch, tencdm)
    row = tencdm.run("encodings", tencdm.SETTINGS["usual"], 0, list(tencdm.DECODERS))
    assert set(row["decoders"]) == {"MLP", "MLP + Cor", "transformer", "transformer + Cor"}
    assert all(0 <= judged["grammatical"] <= 1 for judged in row["decoders"].values())
    assert [by["steps"] for by in row["by_steps"]] == [2, 3] and len(row["magnitudes"]) == 3
    assert len(row["read"]["noisy"]) == len(row["read"]["denoised"]) == 2
    for cell in ({"canvas": "embeddings", "schedule": "sqrt"}, {"canvas": "encodings", "schedule": "tan-9"}):
        row = tencdm.run(seed=1, decoders=["transformer + Cor"], self_conditioning=0.0, **cell)
        assert "by_steps" not in row and row["self_conditioning"] == 0


def test_all_cells_of_tencdm_are_named_once():
    keys = [(c["canvas"], c["schedule"], c.get("self_conditioning", 0.5)) for c in tencdm.cells()]
    assert len(set(keys)) == len(keys) and {key[1] for key in keys} == set(tencdm.SETTINGS["schedules"])


def test_the_schedules_are_what_their_names_say():
    t = torch.tensor([0.25], dtype=torch.float64)
    for name, alpha in (("tan-1", 0.8536), ("tan-9", 0.0671), ("sqrt", 0.4999)):
        assert abs(tencdm.process_of(name).alpha(t).item() - alpha) < 2e-3


def test_a_cell_of_cosmos(monkeypatch):
    shrink(monkeypatch, cosmos)
    monkeypatch.setitem(tencdm.SETTINGS, "batch_size", 8)
    rows = cosmos.run(cosmos.FULL, 2, [1.0, 5.0], 0)
    assert [row["d"] for row in rows] == [1.0, 5.0]
    for row in rows:
        probes = row["probes"]
        assert len(probes["nearer"]) == len(probes["either"]) == len(cosmos.SETTINGS["weights"])
        assert abs(probes["ce"] - probes["noisy_ce"][0]) < 1e-4 and len(probes["noisy_ce"]) == 2
        assert 0 <= row["drawn"]["grammatical"] <= 1 and math.isfinite(probes["mse"])
        assert abs(probes["ce"] - math.log(toy_language().V)) < 1  # two steps teach nothing
