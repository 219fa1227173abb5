"""The widget of lesson 04: its table, its live picture, and what it refuses."""

import time

import pytest
import torch

from difflm_core.classroom import widgets_planner
from difflm_core.classroom.widgets_planner import trajectory_controls, trajectory_explorer, trajectory_rows

WORDS = torch.tensor([[[0, 1, 2], [5, 5, 5]], [[0, 3, 2], [5, 5, 5]], [[4, 3, 2], [5, 0, 5]]])  # (steps, texts, L)
TIMES = [1.0, 0.5, 0.0]
decode = "abcdef".__getitem__


def first_word(ids):
    return f"begins with {decode(int(ids[0]))}"


@pytest.fixture
def shown(monkeypatch):
    calls = []
    monkeypatch.setattr(widgets_planner, "samples_table", lambda rows, **head: calls.append(("table", list(rows))))
    monkeypatch.setattr(widgets_planner, "display", lambda what: calls.append(("live", what)))
    return calls


def test_the_slider_moves_the_text():
    box = trajectory_controls(WORDS, TIMES, decode, first_word)
    menu, slider, picture = box.children
    assert [text for text, _ in menu.options] == ["e d c", "f a f"] and slider.max == 2
    assert "a b c" in picture.value and "1 of 3 words are final; begins with a" in picture.value
    assert "[" not in picture.value  # nothing is before the first step
    slider.value = 1
    assert "[d]" in picture.value and "2 of 3 words are final" in picture.value and "t = 0.50" in picture.value
    slider.value = 2
    assert "[e]" in picture.value and "[d]" not in picture.value and "3 of 3" in picture.value
    menu.value = 1
    assert "[a]" in picture.value and "f" in picture.value


def test_one_text_needs_no_menu():
    assert trajectory_controls(WORDS[:, :1], TIMES, decode).children[0].layout.display == "none"


def test_the_table_marks_against_the_row_above():
    rows = trajectory_rows(WORDS[:, 0], TIMES, decode, None, 2)
    assert [label for label, _, _ in rows] == ["t = 1.00", "t = 0.00"]
    assert [word.mark for word in rows[1][1]] == ["changed", "changed", "kept"]
    assert len(trajectory_rows(WORDS[:, 0], TIMES, decode, None, 9)) == 3


def test_the_table_comes_first_and_alone_when_static(shown, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("DIFFLM_STATIC", "0")
    trajectory_explorer(WORDS, TIMES, decode)
    assert [kind for kind, _ in shown] == ["table", "live"]
    shown.clear()
    monkeypatch.setenv("DIFFLM_STATIC", "1")
    trajectory_explorer(WORDS, TIMES, decode)
    assert [kind for kind, _ in shown] == ["table"]


@pytest.mark.parametrize("words, times", [(WORDS[0], TIMES), (WORDS, TIMES[:2]), (WORDS[:0], [])])
def test_refused(words, times):
    with pytest.raises(ValueError, match="words \\(steps, texts, L\\) and a time for each step"):
        trajectory_explorer(words, times, decode)


def test_a_move_is_quick():
    words = torch.randint(6, (251, 20, 64), generator=torch.Generator().manual_seed(0))
    _, slider, _ = trajectory_controls(words, torch.linspace(1, 0, 251).tolist(), decode, first_word).children
    began = time.process_time()
    for step in range(1, 21):
        slider.value = step
    assert (time.process_time() - began) / 20 < 0.1
