"""Handouts and slides: where slides end, pictures with their words, equations without a network, clear refusals."""

import os
from html import unescape
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from difflm_core.classroom import build, handout_pages
from difflm_core.classroom import handout as command
from difflm_core.classroom.handout_equations import available, mathml, own_character
from difflm_core.classroom.handout_slides import LINES, as_slides, blocks

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
TEXT = "Text with $z_t$, see [08](08_mdlm.ipynb)."
EQUATION = r"$$\boxed{\mathcal L = \sum_{i} x_i}$$"
with_mathml = pytest.mark.skipif(not available(), reason="latex2mathml is not installed")


def picture(alt='a "steep" curve'):
    return new_output("display_data", {"image/png": PNG}, metadata={"image/png": {"alt": alt, "width": 640}})


def caption():
    return new_output("display_data", {"text/html": "<details><summary>What the picture shows</summary>a</details>"})


def stream(text):
    return new_output("stream", name="stdout", text=text)


def lesson():
    return new_notebook(
        cells=[
            new_markdown_cell(f"# 99 · A lesson\n\n**Minutes** 1\n\n## 1 · One\n\n{TEXT}", id="a"),
            new_code_cell("print(1)\nshow()", outputs=[stream("1 < 2\n"), picture(), caption()], id="b"),
            new_code_cell("# NBVAL_CHECK_OUTPUT\nprint(True)", outputs=[stream("True\n")], id="c"),
            new_markdown_cell(f"So it is.\n\n## 2 · Two\n### Two, first\n\n{EQUATION}", id="d"),
        ]
    )  # fmt: skip


def kinds(nb):
    return [(cell.source.split("\n")[0] if cell.cell_type == "markdown" else "·", cell.metadata.slideshow.slide_type)
            for cell in nb.cells]  # fmt: skip


def test_headings_begin_slides_and_checked_cells_are_left_out():
    nb = lesson()
    cut = as_slides(nb)
    assert [line for line, kind in kinds(cut) if kind == "slide"] == ["# 99 · A lesson", "## 1 · One", "## 2 · Two"]
    assert ("### Two, first", "-") in kinds(cut)  # no page for the heading above it alone
    assert "NBVAL" not in str(cut.cells) and len(nb.cells) == 4  # the notebook itself stays as it was
    assert len({cell.id for cell in cut.cells}) == len(cut.cells)


def test_nothing_is_lost_and_nothing_is_cut():
    parts = ["before", "```\na\n\nb\n```", "<details><summary>s</summary>\n\ninside\n\n</details>", "## B", "after"]
    assert blocks("\n\n".join(parts)) == parts


def test_a_full_page_goes_on_below():
    text = "\n\n".join(f"{name} " + "word " * 70 for name in "ABCDEFGH")  # 5 lines each
    cut = as_slides(new_notebook(cells=[new_markdown_cell("## 1 · One\n\n" + text, id="a")]))
    assert [line[0] for line, kind in kinds(cut) if kind == "subslide"] == ["D", "G"]


def test_what_leads_on_goes_to_the_next_page_and_a_caption_stays_with_its_picture():
    text = "word " * 270 + "\n\nSo we get:\n\n" + "word " * 70
    cut = as_slides(new_notebook(cells=[new_markdown_cell(text, id="a")]))
    assert [kind for _, kind in kinds(cut)] == ["-", "subslide", "-"]
    cell = new_code_cell("show()", outputs=[stream("line\n" * (LINES - 4)), picture(), caption()], id="b")
    cut = as_slides(new_notebook(cells=[new_markdown_cell("# A", id="a"), cell]))
    assert [kind for _, kind in kinds(cut)] == ["slide", "-", "-", "subslide", "-"]


def test_hidden_code_leaves_no_empty_page():
    cut = as_slides(lesson(), "hidden")
    assert all(cell.cell_type == "markdown" or cell.outputs for cell in cut.cells)


@pytest.mark.parametrize(
    "code, seen", [("folded", "<details><summary>code, 2 lines"), ("shown", "print"), ("hidden", "")]
)
def test_the_page_has_its_outputs_and_its_pictures_words(code, seen):
    page = handout_pages.handout(lesson(), code)
    assert "<title>99 · A lesson</title>" in page and "1 &lt; 2" in page
    assert (
        'a "steep" curve' in unescape(page) and f'src="data:image/png;base64,{PNG}"' in page and 'width="640"' in page
    )
    assert 'href="08_mdlm.html"' in page and seen in page
    assert ('<div class="highlight' in page) == (code != "hidden")


def test_slides_are_nested_sections_and_reveal_can_be_put_inside(tmp_path):
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "reveal.js").write_text("var inside = '</script>';")
    (tmp_path / "dist" / "reveal.css").write_text(".reveal {}")
    page = handout_pages.slides(lesson(), reveal=str(tmp_path))
    assert page.count("<section><section>") == 3 and page.count("<section>") == page.count("</section>")
    assert "var inside = '<\\/script>'" in page and "unpkg" not in page
    assert handout_pages.REVEAL in handout_pages.slides(lesson())
    with pytest.raises(ValueError, match="no dist/reveal.js in elsewhere: unpack a copy"):
        handout_pages.slides(lesson(), reveal="elsewhere")


@with_mathml
def test_equations_need_neither_script_nor_network():
    page = handout_pages.handout(lesson())
    assert page.count("<math") == 2 and "$" not in page and "MathJax" not in page and "<script" not in page
    assert "ℒ" in page and "<munder>" in page  # the letter itself; the limit below the sum, inside of the box too


@with_mathml
@pytest.mark.parametrize("tex", [r"\arg\min_w f", r"\big\|\,q\big\|", r"\underbrace{a}_{\text{why?}}", r"a < b \& c"])
def test_equations_are_well_formed(tex):
    assert ElementTree.fromstring(mathml(tex, True)).tag.endswith("math")


@with_mathml
def test_what_cannot_be_translated_stays_tex():
    assert mathml(r"\unheardof{x} < 1", False) == r"<code>\unheardof{x} &lt; 1</code>"
    assert mathml(r"\frac{", True) == r"<code>\frac{</code>"


def test_letters_of_other_alphabets():
    pairs = {("E", "double-struck"): "𝔼", ("N", "script"): "𝒩", ("L", "script"): "ℒ", ("1", "bold"): "𝟏"}
    assert {pair: own_character(*pair) for pair in pairs} == pairs
    assert own_character("R", "double-struck") == "ℝ" and own_character("α", "bold") == ""


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one lesson, built, and one that is not."""
    source = tmp_path / "lessons" / "source"
    source.mkdir(parents=True)
    for name in ("98_unbuilt", "99_lesson"):
        (source / f"{name}.py").write_text("# %% [markdown]\n# # A\n", encoding="utf-8")
    nbformat.write(lesson(), tmp_path / "lessons" / "99_lesson.ipynb")
    monkeypatch.setattr("difflm_core.classroom.lesson.lessons_folder", lambda: tmp_path / "lessons")
    return tmp_path


def test_the_command_writes_both_files_beside_the_lessons(course, capsys):
    assert command.main(["99"]) == 0
    assert sorted(path.name for path in (course / "handouts").iterdir()) == ["99_lesson.html", "99_lesson.slides.html"]
    assert "the source has changed since the notebook was built" in capsys.readouterr().err
    assert command.main(["99", "--only", "page", "--out", str(course / "a" / "b")]) == 0
    assert [path.name for path in (course / "a" / "b").iterdir()] == ["99_lesson.html"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["11"], "no lesson begins with '11'; there are: 98_unbuilt, 99_lesson"),
        (["98"], "98_unbuilt: there is no notebook yet; build it with: make lessons ARGS=98"),
        (["99", "--solved"], "99_lesson: there is no notebook yet"),
        (["99", "--reveal", "nowhere"], "There is no dist/reveal.js in nowhere"),
        (["99", "--out", "FILE"], "Name another folder with --out"),
    ],
)
def test_refusals_are_one_sentence(course, capsys, arguments, said):
    (course / "FILE").write_text("")
    assert command.main([str(course / "FILE") if part == "FILE" else part for part in arguments]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Note:")]
    assert len(errors) == 1 and said in errors[0]


def test_a_missing_exporter_is_said(course, capsys, monkeypatch):
    def gone(*arguments):
        raise ImportError("No module named 'nbconvert'", name="nbconvert")

    monkeypatch.setattr(command, "write", gone)
    assert command.main(["99"]) == 1
    assert capsys.readouterr().err == "nbconvert is not installed; install requirements.txt.\n"


def test_an_unwritable_folder_is_said(course, capsys):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (course / "locked").mkdir(mode=0o500)
    assert command.main(["99", "--out", str(course / "locked")]) == 1
    assert "Cannot write" in capsys.readouterr().err


def test_build_and_handout_agree_on_where_notebooks_are():
    assert command.targets is build.targets
