"""The study of TEncDM in small: every cell runs, and its row has what a lesson plots."""

import torch

from difflm_core.studies import tencdm

SMALL = {
    "width": 16, "layers": 1, "train_steps": 2, "batch_size": 8, "steps": 3, "samples": 6, "decoder_steps": 2,
    "decoder_layers": 1, "tuning_steps": 2, "step_counts": [2, 3], "read_at": [0.1, 0.9],
}  # fmt: skip


def shrink(monkeypatch, study):
    for name in SMALL.keys() & study.SETTINGS.keys():
        monkeypatch.setitem(study.SETTINGS, name, SMALL[name])


def test_a_cell_of_tencdm(monkeypatch):
    shrink(monkeypatch, tencdm)
    tencdm.tuned_encoder.cache_clear()
    row = tencdm.run("encodings", tencdm.SETTINGS["usual"], 0, list(tencdm.DECODERS))
    assert set(row["decoders"]) == {"MLP", "MLP + Cor", "transformer", "transformer + Cor"} == set(row["reading"])
    assert all(0 <= judged["grammatical"] <= 1 for judged in row["decoders"].values())
    assert [(by["steps"], len(by["magnitudes"])) for by in row["by_steps"]] == [(2, 2), (3, 3)]
    assert all(len(read["noisy"]) == 2 for read in row["reading"].values())
    assert {len(curve) for curve in row["denoising"].values()} == {2}
    assert set(row["walked"]) == set(tencdm.SETTINGS["schedules"])
    # on its own grid the network is told its own times, up to float32
    own, walked = (row[key] for key in ("decoders", "walked"))
    assert abs(own["transformer + Cor"]["entropy"] - walked[tencdm.SETTINGS["usual"]]["entropy"]) < 0.05
    assert "grammatical" in tencdm.told(row)
    for cell in ({"canvas": "embeddings", "schedule": "sqrt"}, {"canvas": "untuned", "schedule": "tan-9"}):
        row = tencdm.run(seed=1, decoders=["transformer + Cor"], self_conditioning=0.0, **cell)
        assert "by_steps" not in row and "walked" not in row and row["self_conditioning"] == 0
    tencdm.tuned_encoder.cache_clear()


def test_all_cells_of_tencdm_are_named_once():
    keys = [(c["canvas"], c["schedule"], c.get("self_conditioning", 0.5)) for c in tencdm.cells()]
    assert len(set(keys)) == len(keys) and {key[1] for key in keys} == set(tencdm.SETTINGS["schedules"])


def test_the_schedules_are_what_their_names_say():
    t = torch.tensor([0.25], dtype=torch.float64)
    for name, alpha in (("tan-1", 0.8536), ("tan-9", 0.0671), ("sqrt", 0.4999)):
        assert abs(tencdm.process_of(name).alpha(t).item() - alpha) < 2e-3
