"""The widget of lesson 03: everything is written beforehand, a move looks up, and the static twin needs no kernel."""

import time

import pytest
import torch

from difflm_core.classroom import lesson as lesson_module
from difflm_core.classroom import widgets_ld4lg as widget
from difflm_core.classroom.sentences import CHANGED
from difflm_core.models import LD4LG, DecoderConfig, LatentDecoder, PerceiverConfig
from difflm_core.processes import GaussianProcess, ShiftedCosine
from difflm_core.samplers import write_texts
from difflm_core.samplers.gaussian import at

WORDS = ["a", "b", "<c>", "d"]
PROCESS = GaussianProcess(ShiftedCosine(1.0))


def even(ids):
    return ids.sum(1) % 2 == 0


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    decoder = LatentDecoder(DecoderConfig(4, 6, D=8, width=8, layers=1, heads=2))
    for block in decoder.blocks:  # untrained, but what it writes depends on the latents
        block.look.out.weight.data *= 30
    return LD4LG(PerceiverConfig(D=8, length=6, N=2, D_ae=4, width=8, layers=1, heads=2), decoder)


@pytest.fixture(scope="module")
def latents():
    return torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def written(model, latents):
    ids = write_texts(model, latents).tokens
    return widget.write_noisy(model, PROCESS, latents, ids, WORDS.__getitem__, even, lambda z, t: 0 * z, seed=5)


def test_each_text_is_that_of_its_own_noisy_latent(written, model, latents):
    """The order of ways, sentences, noises and times: recomputed one by one from the same noise."""
    assert written.texts.shape == (2, 3, widget.NOISES, 21, 6) and written.right.shape == (2, 3, widget.NOISES, 21)
    eps = torch.randn(3, widget.NOISES, 1, 2, 4, generator=torch.Generator().manual_seed(5))
    for k, s, place in ((0, 0, 0), (1, 2, 7), (2, 3, 20), (2, 1, 13)):
        signal, noise = PROCESS.levels(at(place * widget.STEP, latents[:1]), latents[:1])
        z_t = signal * latents[k : k + 1] + noise * eps[k, s]
        tokens = write_texts(model, z_t).tokens[0]
        assert torch.equal(written.texts[0, k, s, place], tokens)
        assert bool(written.right[0, k, s, place]) == bool(even(tokens[None]))
    blank = write_texts(model, torch.zeros(1, 2, 4)).tokens[0]
    assert bool((written.texts[1] == blank).all())  # the denoiser of this test answers 0 always


def test_without_noise_the_text_is_written_of_the_latent_itself(written):
    assert torch.equal(written.texts[0, :, 0, 0], written.ids)
    assert not any(word.mark == CHANGED for word in written.words(0, 1, 0, 0))


def test_slider_menu_and_button_show_what_was_written(written):
    box = widget.latent_controls(written)
    menu, (slider, button), picture = box.children[0], box.children[1].children, box.children[2]
    slider.value = 0.6
    first = picture.value
    assert "z_t as it is" in first and "t = 0.60" in first and ("rules kept" in first or "rule is broken" in first)
    assert "<c>" not in first and written.rules(0, 0, 0, 12) in first
    seen = set()
    for _ in range(widget.NOISES):
        seen.add(picture.value)
        button.click()
    assert picture.value == first and len(seen) > 1  # the noises go round
    menu.value = (1, 2)
    assert "x̂" in picture.value and picture.value != first
    began = time.perf_counter()
    for i in range(20):
        slider.value = i * widget.STEP
    assert (time.perf_counter() - began) / 20 < 0.1


def test_static_twin_and_live_part(written, model, latents, monkeypatch, capsys):
    rows = widget.static_rows(written)
    assert len(rows) == 2 * len(widget.FILM) and rows[0][0] == "z_t as it is, t = 0.00"
    assert "6 of 6 kept" in rows[0][2]
    shown = []
    monkeypatch.setattr(lesson_module, "display", lambda data, raw=False, metadata=None: shown.append(data))
    monkeypatch.setattr(widget, "display", shown.append)
    monkeypatch.setenv("DIFFLM_STATIC", "1")
    arguments = (model, PROCESS, latents, written.ids, WORDS.__getitem__, even)
    widget.latent_explorer(*arguments)
    assert len(shown) == 1 and "drag t yourself" in capsys.readouterr().out
    monkeypatch.delenv("DIFFLM_STATIC")
    monkeypatch.delenv("CI", raising=False)
    widget.latent_explorer(*arguments)
    assert len(shown) == 3 and len(shown[-1].children) == 3


def test_texts_and_latents_must_belong_together(model, latents, written):
    with pytest.raises(ValueError, match="the K texts"):
        widget.latent_explorer(model, PROCESS, latents[:2], written.ids, WORDS.__getitem__, even)
