"""The studies of lesson 11 in miniature: their rows suit the pictures, and their controls are what they say."""

import pytest
import torch

from difflm_core.classroom.pictures import lesson_11 as pictures
from difflm_core.models.adapted_twin import AdaptedTwin
from difflm_core.studies import adaptation, block_sizes, decoding_rules
from difflm_core.training import Block


def stored(name: str, module, seeds=(0,)) -> dict:
    """A study as `load_results` would give it."""
    runs = [{"seed": seed, **row} for seed in seeds for row in module.run(seed)]
    assert all(module.told(row) for row in runs)
    return {"study": name, "command": f"python -m {name}", "settings": module.SETTINGS, "runs": runs}


@pytest.fixture
def closing():
    from matplotlib import pyplot as plt

    yield
    plt.close("all")


def test_block_sizes(monkeypatch, closing):
    small = {"sizes": [1, 4], "steps": 2, "batch_size": 4, "held_out": 64, "draws": 2, "samples": 4, "width": 16}
    small |= {"length": 8, "timed": [1, 4], "timed_width": 16, "timed_layers": 1}
    for key, value in small.items():
        monkeypatch.setitem(block_sizes.SETTINGS, key, value)
    study = stored("block_sizes", block_sizes)
    assert all(row["largest_difference"] < 1e-4 for row in pictures.chosen(study, table="cost"))
    _, alt, _ = pictures.block_sizes(study)
    assert "size 1 trained all masked" in alt


def test_blocks_of_one_word_masked_altogether_have_the_quieter_loss():
    from difflm_core.data import toy_language
    from difflm_core.objectives import loss_variance
    from difflm_core.processes import masked
    from difflm_core.training import Size

    language, g = toy_language(), torch.Generator().manual_seed(0)
    model = Block(1).network(language.V, language.length, Size(16, 1, 2)).eval()
    x = language.sample(64, generator=g)
    drawn, whole = (loss_variance(masked(language.V), model, x, low, 1.0, 2, g) for low in (0.0, 1.0))
    assert whole < drawn / 10


@pytest.mark.slow
def test_decoding_rules(monkeypatch, closing):
    small = {"samples": 6, "calls": [3, 12], "thresholds": [0.0], "bounds": [0.0, 100.0], "renoised": 3, "steps": [2]}
    small |= {"renoising_bounds": [2.0], "stops": [5.0]}
    for key, value in small.items():
        monkeypatch.setitem(decoding_rules.SETTINGS, key, value)
    study = stored("decoding_rules", decoding_rules)
    calls = {(row["rule"], row["setting"]): row["network_calls"] for row in study["runs"] if "noise" not in row}
    assert calls["random", 3] == calls["low-confidence in blocks", 3] == 3
    assert calls["threshold", 0.0] == calls["entropy bound", 100.0] == 1
    assert len(pictures.chosen(study, rule="renoising")) == 2
    pictures.decoding_rules(study), pictures.renoising(study)


def test_adaptation(monkeypatch, closing):
    for key, value in {"steps": [0, 2], "batch_size": 4, "held_out": 64, "draws": 2}.items():
        monkeypatch.setitem(adaptation.SETTINGS, key, value)
    study = stored("adaptation", adaptation)
    assert len(study["runs"]) == 2 * len(adaptation.WAYS)
    assert "from scratch" in pictures.adaptation(study)[1]


def test_every_way_of_adaptation_starts_where_it_should():
    twin = adaptation.course_checkpoint("ar-tiny")[0]
    networks = {way: adaptation.network(way, 0) for way in adaptation.WAYS}
    head = twin.head.weight
    for way, model in networks.items():
        own = model.network.head.weight if isinstance(model, AdaptedTwin) else model.head.weight
        assert torch.equal(own, head) is (way != "from scratch")
    assert networks["adapted"].opened == 0 and networks["adapted, opened at once"].opened == 1
    assert isinstance(networks["adapted, opened at once"], AdaptedTwin)


def test_a_table_shows_means_and_ranges():
    runs = [{"seed": s, "model": "a", "share": 0.2 + 0.1 * s} for s in range(3)] + [{"seed": 0, "model": "b"}]
    text = pictures.table({"runs": runs}, lambda run: run["model"], {"share": ("share", ".1f")})
    assert "0.3 (0.2 to 0.4)" in text and text.splitlines()[2].split() == ["b"]
