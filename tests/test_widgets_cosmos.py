"""The walk between two texts: what is decoded beforehand, the marks, the live widget, its twin and its refusals."""

import time

import pytest
import torch

from difflm_core.classroom import widgets_cosmos as widget
from difflm_core.classroom.sentences import CHANGED, KEPT, WRONG

V, L, P = 6, 3, 2
IDS = torch.tensor([[[0, 1, 2], [3, 4, 2]], [[1, 1, 1], [0, 0, 0]]])  # (P, 2, L)


class Language:
    words = ["a", "b", "<c>", "d", "e", "f"]

    def grammatical(self, x):
        return x[:, 0] != 5


def one_hot(ids):
    return torch.nn.functional.one_hot(ids, V).float()


def falling(z):
    """Reads the word with the largest number, and word 5 where no number is above 0.6: a hole half-way."""
    return torch.where((z.amax(-1, keepdim=True) > 0.6), z, one_hot(torch.full(z.shape[:-1], 5)))


SPACES = {"smooth": (lambda z: z, one_hot(IDS)), "holes & more": (falling, one_hot(IDS))}


@pytest.fixture
def walks():
    return widget.walk(SPACES, IDS, Language().grammatical)


def test_the_ends_are_the_texts_and_the_middle_is_what_the_space_makes_of_it(walks):
    last = widget.STOPS - 1
    for space in SPACES:
        assert torch.equal(walks.words[space][:, 0], IDS[:, 0]) and torch.equal(walks.words[space][:, last], IDS[:, 1])
    assert set(walks.words["smooth"][0, :, 0].tolist()) == {0, 3}
    assert walks.words["holes & more"][0, last // 2].tolist() == [5, 5, 2]  # the common word stays readable
    assert not walks.right["holes & more"][0, last // 2] and walks.right["smooth"].all()
    said = walks.told("holes & more", 0, last // 2)
    assert said == "1 of 3 words from the first text, 0 from the second, 2 from neither: broken"


def test_marks(walks):
    decode = Language.words.__getitem__
    marks = [word.mark for word in walks.marked("holes & more", 0, widget.STOPS // 2, decode)]
    assert marks == [WRONG, WRONG, KEPT]
    assert [word.mark for word in walks.marked("smooth", 0, widget.STOPS - 1, decode)] == [CHANGED, CHANGED, KEPT]


def test_slider_and_menu_redraw_at_once(walks):
    box = widget.interpolation_controls(walks, Language.words.__getitem__)
    menu, slider, picture = box.children
    assert menu.description and slider.description and slider.tooltip
    seen, durations = set(), []
    for stop in range(widget.STOPS):
        started = time.process_time()
        slider.value = stop
        durations.append(time.process_time() - started)
        seen.add(picture.value)
    assert len(seen) == widget.STOPS and sorted(durations)[widget.STOPS // 2] < 0.1
    assert "&lt;c&gt;" in picture.value and "holes &amp; more" in picture.value
    assert 'role="status"' in picture.value and "Weight of the second text 1.00" in picture.value
    before = picture.value
    menu.value = 1
    assert picture.value != before and "a a a" in picture.value


def test_the_twin_comes_first_and_is_alone_when_static(monkeypatch, capsys):
    tables, live = [], []
    monkeypatch.setattr(widget, "samples_table", lambda *given: tables.append(given))
    monkeypatch.setattr(widget, "display", live.append)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("DIFFLM_STATIC", raising=False)
    widget.interpolation_explorer(SPACES, IDS, Language())
    assert len(tables) == len(live) == 1 and "arrow keys" in capsys.readouterr().out
    rows, title, _ = tables[0]
    assert len(rows) == len(widget.STATIC) * len(SPACES) and "of neither" in title
    assert {row[2].split(": ")[1] for row in rows} == {"grammatical", "broken"}
    monkeypatch.setenv("DIFFLM_STATIC", "1")
    widget.interpolation_explorer(SPACES, IDS, Language())
    assert len(tables) == 2 and len(live) == 1 and "JupyterLab" in capsys.readouterr().out


def test_refusals():
    language = Language()
    for ids in (IDS[0], IDS[:0], IDS[:, :1]):
        with pytest.raises(ValueError, match="pairs of texts"):
            widget.walk(SPACES, ids, language.grammatical)
    with pytest.raises(ValueError, match="at least one space"):
        widget.walk({}, IDS, language.grammatical)
    with pytest.raises(ValueError, match="for 2 pairs"):
        widget.walk({"other": (falling, one_hot(IDS[:1]))}, IDS, language.grammatical)
