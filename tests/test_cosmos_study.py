"""COSMOS's study in small: every space has its rows, and stirring changes nothing but the space."""

import math

import pytest
import torch
from matplotlib import pyplot as plt

from difflm_core.classroom.pictures import lesson_06 as pictures
from difflm_core.models import Cosmos, CosmosConfig, MaskedEncoder, Stirred
from difflm_core.studies import cosmos
from difflm_core.training.course import course_checkpoint

SMALL = {
    "texts": 64, "autoencoder_steps": 2, "denoiser_steps": 2, "width": 16, "layers": 1, "denoiser_layers": 1,
    "batch_size": 8, "steps": 2, "samples": 6, "held_out": 8,
}  # fmt: skip


def untuned() -> MaskedEncoder:
    return MaskedEncoder("mdlm-tiny", course_checkpoint("mdlm-tiny")[0])


@pytest.fixture(scope="module")
def rows():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setitem(cosmos.SETTINGS, name, value)
        patch.setattr(cosmos, "tuned_encoder", untuned)
        cosmos.encoded.cache_clear()
        made = list(cosmos.run(0))
    cosmos.encoded.cache_clear()
    return made


def test_every_space_has_its_rows(rows):
    N = cosmos.SETTINGS["N"]
    spaces = [(space, N) for space in (*cosmos.LOSSES, "stirred", cosmos.RELEASED)]
    spaces += [(cosmos.FULL, n) for n in cosmos.SETTINGS["N_sweep"]]
    for kind in ("autoencoder", "generation"):
        assert sorted((r["space"], r["N"]) for r in rows if r["kind"] == kind) == sorted(spaces)
    assert [r["kind"] for r in rows].count("true") == 1
    for row in rows:
        assert cosmos.told(row)
        if row["kind"] == "generation":
            assert math.isfinite(row["error"]) and len(row["denoised"]) == len(cosmos.SETTINGS["alphas"])
            assert 0 <= row["grammatical"] <= 1 and 0 < row["distinct_2"] <= 1
        if row["kind"] == "autoencoder":
            weights = len(cosmos.SETTINGS["weights"])
            assert len(row["either"]) == len(row["nearer"]) == len(row["grammatical"]) == weights
            assert row["noisy"][0] == row["missing"][0] == pytest.approx(row["words_read"])  # alpha = 1, none missing


def test_the_stirred_space_reads_as_before(rows):
    plain, stirred = (
        next(r for r in rows if r["kind"] == "autoencoder" and (r["space"], r["N"]) == (space, cosmos.SETTINGS["N"]))
        for space in (cosmos.FULL, "stirred")
    )
    assert stirred["texts_read"] == plain["texts_read"] and stirred["words_read"] == plain["words_read"]


def test_the_lesson_shows_every_space(rows):
    runs = [{"seed": seed, **row} for seed in (0, 1) for row in rows]
    study = {"settings": cosmos.SETTINGS, "command": "again", "runs": runs}
    assert list(pictures.SPACE) == [*cosmos.LOSSES, "stirred", cosmos.RELEASED] and pictures.FULL == cosmos.FULL
    settings = study["settings"]
    curves = pictures.probes_of(study)
    drawn = (
        pictures.stages(study),
        pictures.sizes(study),
        pictures.reading_curves(curves, settings["weights"], settings["alphas"], settings["missing"]),
    )
    for figure, alt, _ in drawn:
        assert len(alt) > 50 and "nan" not in alt
        plt.close(figure)
    assert pictures.table(study).count("\n") == len(pictures.SPACE) + len(settings["N_sweep"]) + 1
    assert pictures.ranked(study, "autoencoder", "texts_read").count(">") == len(pictures.SPACE) - 1


def test_a_difference_counts_if_all_seeds_agree():
    a, b, c = ([{"x": value} for value in row] for row in ((0.5, 0.6), (0.4, 0.3), (0.6, 0.5)))
    assert pictures.compared(a, b, "x") == "55 against 35, by seed +10, +30: higher in every seed"
    assert pictures.compared(b, a, "x").endswith("lower in every seed")
    assert pictures.compared(a, c, "x").endswith("the seeds disagree")
    assert pictures.compared(a, a, "x").endswith("no difference")


def test_the_levels_of_noise_are_those_of_every_schedule():
    for d in (1.0, 2.0, 5.0):
        process = cosmos.GaussianProcess(cosmos.ShiftedCosine(d))
        alphas = process.alpha(torch.tensor(cosmos.times_of(process), dtype=torch.float64))
        torch.testing.assert_close(alphas, torch.tensor(cosmos.SETTINGS["alphas"], dtype=torch.float64))


def small_model(n=2, d_ae=6) -> tuple[Cosmos, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = Cosmos(CosmosConfig(D=5, length=4, V=7, N=n, D_ae=d_ae, width=16, layers=1, heads=2), "small").double()
    h, mask = torch.randn(40, 4, 5, dtype=torch.float64), torch.ones(40, 4, dtype=torch.bool)
    texts = (h, mask, torch.zeros(40, 4, dtype=torch.long))
    model.measure_features([texts]).measure_latents([texts])
    return model.requires_grad_(False), h, mask


def test_stirring_can_be_undone_and_is_standardised():
    model, h, mask = small_model()
    z = model.encode(h, mask)
    stirred = Stirred(model, 2.0, 5.0, seed=3).double().measure(z)
    torch.testing.assert_close(stirred.settle(stirred.stir(z)), z, atol=1e-12, rtol=0)
    moved = stirred.encode(h, mask)
    torch.testing.assert_close(stirred.decode(moved), model.decode(z), atol=1e-10, rtol=1e-8)
    torch.testing.assert_close(moved.mean(0), torch.zeros(2, 6, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(moved.std(0, correction=0), torch.ones(2, 6, dtype=torch.float64), atol=1e-6, rtol=0)


def test_stirring_makes_small_errors_large_and_strength_0_none():
    model, h, mask = small_model()
    z, noise = model.encode(h, mask), 1e-4 * torch.randn(40, 2, 6, dtype=torch.float64)
    moved = [Stirred(model, strength, 5.0).double() for strength in (0.0, 2.0)]
    grown = [((s.settle(s.stir(z) + noise) - z).norm() / noise.norm()).item() for s in moved]
    assert grown[0] == pytest.approx(1, abs=1e-8) and grown[1] > 5
    volume = torch.func.jacrev(lambda x: moved[1].stir(x.view(1, 2, 6)).flatten())(z[0].flatten()).det()
    assert volume.abs().item() == pytest.approx(1, abs=1e-9)  # it moves mass about and neither stretches nor squeezes


def test_halves_must_be_even():
    with pytest.raises(ValueError, match="two halves"):
        Stirred(small_model(1, 5)[0])
