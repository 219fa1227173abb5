"""The widget for any kind of noise: its table, its live picture, and what it refuses."""

import pytest
import torch

from difflm_core.classroom import lesson as lesson_module
from difflm_core.classroom import widgets
from difflm_core.classroom.corruptions import corrupted, corruption_html, left_over, static_rows
from difflm_core.classroom.sentences import CHANGED, KEPT, MASKED, Word, sentence, to_text
from difflm_core.processes import hybrid, masked, uniform

WORDS = ["the", "quick", "<fox>", "jumps", "over"]
V = len(WORDS)
word = WORDS.__getitem__
X = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3])  # longer than one line of the picture


def noise(process):
    return lambda ids, t, generator: process.corrupt(ids, torch.tensor([t]), generator)


KINDS = {"mask": noise(masked(V)), "uniform": noise(uniform(V)), "hybrid": noise(hybrid(V, 0.4))}


def all_changed(ids, t, generator):
    """Every token becomes the next one, except the first, which is masked."""
    z = (ids + 1) % V
    return torch.where(torch.arange(ids.shape[1]) == 0, V, z) if t > 0 else ids


@pytest.fixture
def shown(monkeypatch):
    calls = []
    monkeypatch.setattr(lesson_module, "display", lambda data, raw=False, metadata=None: calls.append(data))
    monkeypatch.setattr(widgets, "display", calls.append)
    return calls


def test_masked_and_changed_tokens_are_marked_and_counted():
    words = corrupted(all_changed, X[:4], 1.0, word, V)
    assert [w.mark for w in words] == [MASKED, CHANGED, CHANGED, CHANGED]
    assert to_text(words) == "▢ [<fox>] [jumps] [over]" and left_over(words) == "0 of 4 kept, 1 masked, 3 replaced"
    assert left_over([Word("a", KEPT)]) == "1 of 1 kept"


@pytest.mark.parametrize("kind", KINDS)
def test_t_zero_is_clean_t_one_is_noise_and_a_row_is_repeatable(kind):
    at = lambda t, seed=0: corrupted(KINDS[kind], X, t, word, V, seed)  # noqa: E731
    assert at(0.0) == sentence(X, word, V)
    assert at(0.5) == at(0.5) and len({to_text(at(0.5, seed)) for seed in range(5)}) > 1
    assert all(w.mark == MASKED for w in at(1.0)) or kind == "uniform"


def test_a_larger_t_only_masks_more():
    positions = [
        {i for i, w in enumerate(corrupted(KINDS["mask"], X, t / 10, word, V)) if w.mark == MASKED} for t in range(11)
    ]
    assert all(less <= more for less, more in zip(positions, positions[1:])) and len(positions[-1]) == len(X)


def test_the_table_has_a_row_for_each_kind_and_time():
    rows = static_rows(KINDS, X, (0.0, 0.5), word, V)
    assert [label for label, _, _ in rows] == [f"{kind}, t = {t:.2f}" for kind in KINDS for t in (0.0, 0.5)]
    assert rows[0][2] == "14 of 14 kept" and all(len(words) == len(X) for _, words, _ in rows)


def test_the_picture_marks_by_sign_and_escapes():
    x = X[:4]
    html = corruption_html("<b>", 0.5, sentence(x, word, V), corrupted(all_changed, x, 0.5, word, V))
    assert html.count('class="mask"') == 1 and html.count('class="wrong"') == 3 and "[&lt;fox&gt;]" in html
    assert "&lt;b&gt;, t = 0.50: 0 of 4 kept, 1 masked, 3 replaced" in html and "<fox>" not in html


def test_long_sentences_are_broken_into_lines():
    html = corruption_html("mask", 0.0, sentence(X, word, V), sentence(X, word, V))
    assert html.count("<table>") == 2 and html.count("<td") == 2 * len(X)


def test_radio_slider_and_button_redraw():
    box = widgets.corruption_controls(KINDS, X, word, V)
    radio, (slider, button), picture = box.children[0], box.children[1].children, box.children[2]
    seen = {picture.value}
    slider.value = 0.9
    seen.add(picture.value)
    radio.value = "uniform"
    seen.add(picture.value)
    button.click()
    seen.add(picture.value)
    assert len(seen) == 4 and radio.options == tuple(KINDS) and radio.value == "uniform"
    assert "uniform, t = 0.90" in picture.value and radio.description and slider.description and button.description


def test_the_slider_walks_the_grid_of_a_chain():
    box = widgets.corruption_controls(KINDS, X, word, V, step=1 / 25)
    assert box.children[1].children[0].step == 1 / 25


def test_the_table_comes_first_and_stands_alone_when_static(shown, monkeypatch, capsys):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("DIFFLM_STATIC", raising=False)
    widgets.corruption_explorer(KINDS, X[None], word, V)
    assert len(shown) == 2 and "hybrid, t = 0.75" in shown[0]["text/plain"] and type(shown[1]).__name__ == "VBox"
    monkeypatch.setenv("DIFFLM_STATIC", "1")
    widgets.corruption_explorer(KINDS, X, word, V, static_times=(0.1,))
    assert len(shown) == 3 and "mask, t = 0.10" in shown[2]["text/plain"] and "JupyterLab" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentence_ids": torch.tensor([0, V])}, "without masks"),
        ({"sentence_ids": X.view(2, 7)}, "one clean sentence"),
        ({"sentence_ids": torch.empty(0, dtype=torch.long)}, "one clean sentence"),
        ({"sentence_ids": X[:1].expand(2500)}, "2,500 words"),
        ({"kinds": {}}, "at least one kind"),
        ({"static_times": (0.0, 1.5)}, "noise levels"),
        ({"kinds": {"vectors": lambda ids, t, generator: torch.zeros(1, 14, 3)}}, "round vectors"),
    ],
)
def test_refusals(change, message):
    call = {"kinds": KINDS, "sentence_ids": X, "static_times": (0.5,)} | change
    with pytest.raises(ValueError, match=message):
        widgets.corruption_explorer(decode=word, mask_id=V, **call)
