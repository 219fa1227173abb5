"""What lessons show: marked sentences, tables, figures with alt text, stored results, and the masking widget."""

import json
import time

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.text import Text

from difflm_core.classroom import lesson as lesson_module
from difflm_core.classroom import plots, sentences, widgets
from difflm_core.classroom.fills import FILM_WIDTH, fill, fill_html, fixed_uniforms, masking_filmstrip
from difflm_core.classroom.lesson import lessons_folder, load_results, samples_table, setup, show
from difflm_core.classroom.sentences import BROKEN, CHANGED, KEPT, MASKED, NEW, RIGHT, WRONG, Word
from difflm_core.processes import masked

WORDS = ["the", "quick", "<fox>", "jumps"]
V = len(WORDS)
word = WORDS.__getitem__


class Parrot:
    """A Denoiser that always bets on one word, with the same logits everywhere."""

    def __init__(self, favourite=0, length=4):
        self.V, self.length, self.calls = V, length, 0
        self.row = torch.zeros(V).index_fill(0, torch.tensor([favourite]), 3.0)

    def hidden(self, z_t, t):
        self.calls += 1
        return self.row.expand(*z_t.shape, V)

    def logits(self, h):
        return h


@pytest.fixture
def shown(monkeypatch):
    """Collects what a lesson displays."""
    calls = []

    def collect(data, raw=False, metadata=None):
        calls.append((data, metadata))

    monkeypatch.setattr(lesson_module, "display", collect)
    monkeypatch.setattr(widgets, "display", lambda data: calls.append((data, None)))
    return calls


def test_marks_are_signs_in_text_and_in_html():
    words = [Word("a"), Word("▢", MASKED), Word("b", NEW), Word("c", CHANGED), Word("<d>", BROKEN), Word("e", RIGHT)]
    words.append(Word("f", WRONG))
    assert sentences.to_text(words) == "a ▢ +b+ [c] !<d>! e✓ f✗"
    html = sentences.to_html(words)
    assert "!&lt;d&gt;!" in html and html.count("<span style=") == 6
    assert "masked" in sentences.legend([words]) and sentences.legend([[Word("a")]]) == ""


def test_a_trajectory_marks_each_state_against_the_one_before():
    rows = sentences.trajectory([[V, V, 1], [0, V, 1], [0, 2, 3]], word, V)
    assert [[w.mark for w in row] for row in rows] == [
        [MASKED, MASKED, KEPT],
        [NEW, MASKED, KEPT],
        [KEPT, NEW, CHANGED],
    ]


def test_graded_and_marked():
    row = sentences.graded(torch.tensor([0, 1, 2]), torch.tensor([0, 3, 3]), word, [True, True, False])
    assert [w.mark for w in row] == [RIGHT, WRONG, KEPT]
    assert [w.mark for w in sentences.marked(row, [2])] == [RIGHT, WRONG, BROKEN]


def test_samples_table_lines_up_in_plain_text_and_escapes_html(shown):
    samples_table([("long label", [Word("<fox>", CHANGED)], "✗"), ("x", "plain text")], "Title", ("who", "what", ""))
    data, _ = shown[0]
    lines = data["text/plain"].splitlines()
    assert lines[0] == "Title" and lines[2].index("[<fox>]") == lines[3].index("plain text")
    assert "<fox>" not in data["text/html"] and '<th scope="row"' in data["text/html"]


def test_show_stores_and_prints_the_alt_text_and_closes_the_figure(shown):
    fig, ax = plt.subplots()
    ax.plot([1, 2])
    show(fig, "a rising line & more", "Notice it.")
    (image, metadata), (caption, _) = shown
    assert metadata["image/png"]["alt"] == "a rising line & more" and image["image/png"]
    assert "a rising line &amp; more" in caption["text/html"] and caption["text/plain"] == "Notice it."
    assert not plt.fignum_exists(fig.number)
    with pytest.raises(ValueError, match="alt text"):
        show(plt.figure(), " ")


def test_a_figure_is_small_the_same_every_time_and_refused_if_it_cannot_be():
    rows = sentences.trajectory([[V] * 12, [0, 1, 2, 3] * 3], word, V)
    first, second = (lesson_module.png(plots.token_grid(rows)) for _ in range(2))
    assert first == second and len(first) < lesson_module.LARGEST_PNG
    fig, ax = plt.subplots()
    ax.imshow(torch.rand(900, 900, generator=torch.Generator().manual_seed(0)).numpy(), aspect="auto")
    with pytest.raises(ValueError, match="fewer points"):
        lesson_module.png(fig)


def test_methods_have_a_colour_and_differ_within_each_figure():
    styles = [tuple(plots.style_of(method).items()) for method in plots.METHOD_COLOUR]
    assert len(set(styles)) == len(styles)
    with pytest.raises(ValueError, match="known ones are exact, ar"):
        plots.style_of("gan")


def test_labels_beside_lines_keep_apart():
    fig, ax = plt.subplots()
    for k in range(4):
        ax.plot([0, 1], [0, 1 + k / 1000], label=f"line {k}")
    plots.label_lines(ax)
    fig.draw_without_rendering()
    heights = sorted(Text.get_window_extent(text).y0 for text in ax.texts)  # of the text without its leader line
    assert min(b - a for a, b in zip(heights, heights[1:])) * 72 / fig.dpi > 12
    plt.close("all")


def test_setup_prints_one_line_and_reads_the_environment(monkeypatch, capsys):
    monkeypatch.setenv("DIFFLM_FAST", "1")
    monkeypatch.setenv("DIFFLM_STRICT", "0")
    monkeypatch.setenv("DIFFLM_THREADS", "1")
    monkeypatch.setenv("DIFFLM_DEVICE", "cpu")
    lesson = setup(seed=3)
    assert capsys.readouterr().out == f"torch {torch.__version__} · CPU, 1 thread · fast mode · seed 3\n"
    assert lesson.fast and not lesson.strict and lesson.pick(full=100, fast=10) == 10
    assert torch.equal(torch.rand(2, generator=lesson.generator(1)), torch.rand(2, generator=lesson.generator(1)))


def test_results_are_read_and_their_absence_explained(tmp_path, monkeypatch):
    folder = tmp_path / "lessons"
    (folder / "source").mkdir(parents=True)
    (folder / "solutions").mkdir()
    (folder / "results").mkdir()
    monkeypatch.chdir(folder / "solutions")
    assert lessons_folder() == folder
    (folder / "results" / "ladder.json").write_text(json.dumps({"seeds": [1]}))
    assert load_results("ladder") == {"seeds": [1]}
    with pytest.raises(FileNotFoundError, match="make it with: python -m difflm_core.studies.mdlm_times"):
        load_results("mdlm-times")
    (folder / "results" / "ladder.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        load_results("ladder")


def test_masks_are_nested_and_the_ends_are_clean_and_empty():
    x, u = torch.arange(4), fixed_uniforms(4, seed=0)
    masks = [fill(x, u, t / 50, masked(V), Parrot()).masked for t in range(51)]
    assert not masks[0].any() and masks[-1].all()
    assert all((later | ~earlier).all() for earlier, later in zip(masks, masks[1:]))


def test_a_clean_sentence_asks_the_model_nothing():
    model = Parrot()
    assert len(fill(torch.arange(4), fixed_uniforms(4, 0), 0.0, masked(V), model).guesses) == 0
    assert model.calls == 0


def test_guesses_are_marked_by_sign_and_words_are_escaped():
    x = torch.tensor([2, 0, 1, 3])
    html = fill_html(fill(x, fixed_uniforms(4, 0), 1.0, masked(V), Parrot(favourite=2)), word)
    assert html.count('class="mask"') == 4 and html.count("✗ ") == 3 and "✓ " in html
    assert "t = 1.00: 4 of 4 tokens masked, the model's first guess restores 1" in html and "<fox>" not in html


def test_filmstrip_tells_the_same_in_words_and_cuts_long_texts():
    x = torch.arange(4).repeat(5)
    figure, alt, words = masking_filmstrip(x, masked(V), Parrot(length=20), word)
    assert "t = 1.00: 20 of 20 tokens masked, the model's first guess restores 5" in alt
    assert f"the first {FILM_WIDTH} of 20 positions" in alt and words.count("t = ") == 5
    plt.close(figure)


def test_slider_button_and_menu_redraw():
    ids = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]])
    box = widgets.masking_controls(ids, masked(V), Parrot(), word)
    menu, (slider, button), picture = box.children[0], box.children[1].children, box.children[2]
    seen = {picture.value}
    slider.value = 0.9
    seen.add(picture.value)
    menu.value = 1
    seen.add(picture.value)
    for _ in range(20):  # other masks may happen to be the same ones
        button.click()
        if picture.value not in seen:
            break
    assert len(seen) == 3 and picture.value not in seen
    assert slider.description and button.description and menu.description


def test_explorer_shows_the_picture_first_and_no_widget_when_static(shown, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("DIFFLM_STATIC", raising=False)
    widgets.masking_explorer(torch.arange(4), masked(V), Parrot(), word)
    assert "image/png" in shown[0][0] and type(shown[-1][0]).__name__ == "VBox" and len(shown) == 3
    monkeypatch.setenv("DIFFLM_STATIC", "1")
    widgets.masking_explorer(torch.arange(4), masked(V), Parrot(), word)
    assert len(shown) == 5 and "Run this cell in JupyterLab" in shown[-1][0]["text/plain"]


@pytest.mark.parametrize("ids", [torch.tensor([0, V]), torch.tensor([[-1]]), torch.empty(0, dtype=torch.long)])
def test_explorer_refuses_what_is_not_a_clean_sentence(ids):
    with pytest.raises(ValueError, match="clean token ids"):
        widgets.masking_explorer(ids, masked(V), Parrot(), word)


def test_a_slider_move_takes_less_than_100_ms():
    from difflm_core.models import Transformer, TransformerConfig

    model = Transformer(TransformerConfig(V=114, length=12, width=96, layers=3, heads=4)).eval()
    box = widgets.masking_controls(torch.arange(12)[None], masked(114), model, str)
    slider = box.children[1].children[0]
    durations = []
    for k in range(20):
        started = time.process_time()  # not the clock: a busy machine says nothing about the widget
        slider.value = 0.02 * k
        durations.append(time.process_time() - started)
    assert sorted(durations)[10] < 0.1
