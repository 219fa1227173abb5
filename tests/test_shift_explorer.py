"""The slider for d: its numbers are those of the schedule, a move is a look-up, and the figure comes first."""

import time

import pytest
import torch

from difflm_core.classroom import widgets_tencdm as widget
from difflm_core.classroom.lesson import load_results
from difflm_core.classroom.schedule_curves import TIMES, curves, vector_noise
from difflm_core.processes import ShiftedCosine


@pytest.fixture(scope="module")
def noises():
    study = load_results("recoverable_tokens")
    return {f"D = {D}": vector_noise(study, D) for D in (64, 16)}


def test_what_a_position_says(noises):
    noise = noises["D = 64"]
    found = curves(ShiftedCosine(9.0), noise)
    said = widget.told(9.0, found, noise)
    assert "d = 9: at t = 0.5 alpha is 0.012" in said  # 1 / (1 + 81)
    half = found.readable[len(TIMES) // 2].item()
    assert f"{half:.0%} of the words" in said
    # more noise: at no time can more be read
    cosine = curves(ShiftedCosine(1.0), noise)
    assert bool((found.readable <= cosine.readable + 1e-9).all())


def test_slider_and_buttons_redraw_at_once(noises):
    box = widget.shift_controls(noises)
    radio, slider, picture = box.children
    seen, slowest = {picture.value}, 0.0
    for stop in widget.STOPS[:3]:
        began = time.perf_counter()
        slider.value = stop
        slowest = max(slowest, time.perf_counter() - began)
        seen.add(picture.value)
    radio.value = "D = 16"
    seen.add(picture.value)
    assert len(seen) == 5 and slowest < 0.1
    assert all("<svg" in html and 'role="img"' in html and "aria-label" in html for html in seen)


def test_the_curve_in_the_svg_is_the_schedule(noises):
    noise = noises["D = 64"]
    found = curves(ShiftedCosine(3.0), noise)
    svg = widget.shift_svg(3.0, found, curves(ShiftedCosine(1.0), noise), noise)
    x, y = svg.split('points="')[2].split('"')[0].split()[25].split(",")  # alpha of this d at t = 0.25
    assert float(x) == pytest.approx(0.25 * widget.WIDTH, abs=0.1)
    alpha = ShiftedCosine(3.0).alpha(torch.tensor(0.25)).item()
    assert float(y) == pytest.approx(widget.HEIGHT * (1 - alpha), abs=0.1)


def test_the_static_twin_comes_first_and_alone_where_there_is_no_kernel(noises, monkeypatch):
    shown, live = [], []
    monkeypatch.setattr(widget, "show", lambda figure, alt, caption: shown.append((alt, caption)))
    monkeypatch.setattr(widget, "display", live.append)
    monkeypatch.setenv("DIFFLM_STATIC", "1")
    widget.shift_explorer(noises)
    assert len(shown) == 1 and not live and "d = 9" in shown[0][0] and "D = 64" in shown[0][1]
    monkeypatch.delenv("DIFFLM_STATIC")
    monkeypatch.delenv("CI", raising=False)
    widget.shift_explorer(noises)
    assert len(shown) == 2 and len(live) == 1
    with pytest.raises(ValueError, match="at least one kind"):
        widget.shift_explorer({})
