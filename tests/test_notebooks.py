"""Hygiene of the committed notebooks: read as JSON, nothing is run. A rule is a function from notebook to problems."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import nbformat
import pytest

from difflm_core.classroom.build import LARGEST_NOTEBOOK, out_of_step
from difflm_core.classroom.outputs import WIDGET_VIEW

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted([*(ROOT / "lessons").glob("*.ipynb"), *(ROOT / "lessons" / "solutions").glob("*.ipynb")])
NBVAL = {f"# NBVAL_{name}" for name in ("CHECK_OUTPUT", "IGNORE_OUTPUT", "RAISES_EXCEPTION", "SKIP")}
ABSOLUTE = re.compile(r"(?<![\w.:/~])(?:/(?:home|root|tmp|Users|var|opt|mnt)/|[A-Z]:\\)|" + re.escape(f"{ROOT}"))


def code_cells(nb: dict) -> Iterator[dict]:
    return (cell for cell in nb["cells"] if cell["cell_type"] == "code")


def texts(nb: dict) -> Iterator[str]:
    """Everything a reader may read: sources and textual outputs, not the bytes of pictures."""
    for cell in nb["cells"]:
        yield cell["source"]
        for output in cell.get("outputs", []):
            yield output.get("text", "") + "\n".join(output.get("traceback", []))
            yield from (value for mime, value in output.get("data", {}).items() if mime.startswith("text/"))


def counts(nb: dict) -> Iterator[str]:
    for cell in code_cells(nb):
        if cell["outputs"] and not cell["execution_count"]:
            yield "a cell has outputs but no execution count: nbval fails on it"
        if "# NBVAL_CHECK_OUTPUT" in cell["source"] and not (cell["outputs"] and cell["execution_count"]):
            yield "a checked cell has no stored output: nbval would compare it with nothing"


def markers(nb: dict) -> Iterator[str]:
    for cell in code_cells(nb):
        for line in cell["source"].splitlines():
            if "NBVAL_" in line and line.strip() not in NBVAL:
                yield f"nbval ignores this line silently, a marker must stand alone: {line.strip()}"


def widgets(nb: dict) -> Iterator[str]:
    if "widgets" in nb["metadata"]:
        yield "metadata.widgets is present: some hosts refuse to render the notebook"
    if any(WIDGET_VIEW in output.get("data", {}) for cell in code_cells(nb) for output in cell["outputs"]):
        yield "a live widget is stored: a reader without its kernel sees an error in its place"
    for cell in code_cells(nb):
        if re.search(r"\w_explorer\(", cell["source"]) and "widget" not in cell["metadata"].get("tags", []):
            yield 'a cell with a live widget lacks tags=["widget"]: the browser test would pass it over'


def kernel(nb: dict) -> Iterator[str]:
    if nb["metadata"].get("kernelspec", {}).get("name") != "python3":
        yield "the kernel is not called python3"


def pictures(nb: dict) -> Iterator[str]:
    for cell in code_cells(nb):
        for output in cell["outputs"]:
            for mime in output.get("data", {}):
                if mime.startswith("image/") and not output["metadata"].get(mime, {}).get("alt", "").strip():
                    yield f"a picture has no alternative text; use lesson.show: {cell['source'][:60]!r}"
    for cell in nb["cells"]:
        if cell["cell_type"] == "markdown" and re.search(r"!\[\s*\]\(|<img(?![^>]*\balt=\"[^\"])", cell["source"]):
            yield f"a picture in the text has no alternative text: {cell['source'][:60]!r}"


def paths_and_installs(nb: dict) -> Iterator[str]:
    for text in texts(nb):
        if found := ABSOLUTE.search(text):
            yield f"an absolute path: {text[max(0, found.start() - 20) : found.end() + 20]!r}"
        if re.search(r"^\s*[!%]\s*(pip|conda|uv)\b", text, re.M):
            yield "a cell installs packages; requirements.txt does that"


def noise(nb: dict) -> Iterator[str]:
    for cell in code_cells(nb):
        for output in cell["outputs"]:
            if output["output_type"] == "error" and "raises-exception" not in cell["metadata"].get("tags", []):
                yield f"a cell stores an error: {cell['source'][:60]!r}"
            if output.get("name") == "stderr" and "Warning" in output["text"]:
                yield f"a cell stores a warning: {output['text'][:120]!r}"


def header(nb: dict) -> Iterator[str]:
    first = nb["cells"][0]["source"] if nb["cells"] else ""
    if not re.search(r"minutes\W+\d+|\d+ minutes", first, re.I) or "prerequisites" not in first.lower():
        yield "the first cell does not say **Minutes** (a number) and **Prerequisites**"
    for cell in nb["cells"]:
        for line in cell["source"].splitlines() if cell["cell_type"] == "markdown" else []:
            if re.match(r"#+ Exercise", line) and not re.match(
                r"### Exercise \d+\.\d+ · \d+ min · difficulty [1-5]/5", line
            ):
                yield f"write '### Exercise 8.1 · 10 min · difficulty 2/5' (and a title, if you like), not {line!r}"


def ids(nb: dict) -> Iterator[str]:
    if len({cell["id"] for cell in nb["cells"]}) < len(nb["cells"]):
        yield "two cells share an id"


RULES = [counts, markers, widgets, kernel, pictures, paths_and_installs, noise, header, ids]


def problems(nb: dict) -> list[str]:
    return [problem for rule in RULES for problem in rule(nb)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_notebook(path):
    nb = json.loads(nbformat.writes(nbformat.read(path, 4), split_lines=False))
    found = problems(nb)
    if path.stat().st_size > LARGEST_NOTEBOOK:
        found.append(f"{path.stat().st_size} bytes, more than {LARGEST_NOTEBOOK}")
    source = ROOT / "lessons" / "source" / f"{path.stem}.py"
    kind = "solved" if path.parent.name == "solutions" else "student"
    if source.is_file():
        found += [line for line in out_of_step(source) if f"({kind})" in line]
    else:
        found.append(f"its source lessons/source/{source.name} is missing")
    assert not found, "\n".join(["", *found, f"rebuild: python -m difflm_core.classroom.build {path.stem}"])


def good() -> dict:
    """A notebook without a fault."""
    image = {"output_type": "display_data", "data": {"image/png": "AA"}, "metadata": {"image/png": {"alt": "a line"}}}
    said = {"output_type": "stream", "name": "stdout", "text": "loss fell: True\n"}
    return {
        "metadata": {"kernelspec": {"name": "python3"}},
        "cells": [
            {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# L\n**Minutes** 5 · **Prerequisites** no"},
            {"cell_type": "markdown", "id": "b", "metadata": {}, "source": "### Exercise 8.1 · 9 min · difficulty 2/5"},
            {"cell_type": "code", "id": "c", "metadata": {}, "execution_count": 1,
             "source": "# NBVAL_CHECK_OUTPUT\nprint()", "outputs": [said, image]},
        ],
    }  # fmt: skip


def set_code(**changes):
    return lambda nb: nb["cells"][2].update(changes)


def set_output(**changes):
    return lambda nb: nb["cells"][2]["outputs"][0].update(changes)


FAULTS = [
    (set_code(outputs=[]), "no stored output"),
    (set_code(execution_count=None), "no execution count"),
    (set_code(source="x = 1  # NBVAL_SKIP"), "must stand alone"),
    (set_code(source="# NBVAL_IGNORE_OUTPUT: why"), "must stand alone"),
    (set_code(source="!pip install x"), "installs packages"),
    (lambda nb: nb["metadata"].update(widgets={}), "metadata.widgets"),
    (lambda nb: nb["metadata"].update(kernelspec={"name": "venv"}), "python3"),
    (lambda nb: nb["cells"][2]["outputs"][1].update(metadata={}), "alternative text"),
    (lambda nb: nb["cells"][2]["outputs"][1]["data"].update({WIDGET_VIEW: {}}), "live widget"),
    (lambda nb: nb["cells"][1].update(source="![](x.png)"), "alternative text"),
    (set_code(source="masking_explorer(x)"), "browser test"),
    (set_output(text="saved to /home/ada/x.pt"), "absolute path"),
    (set_output(text="in /tmp/ipykernel_1/2.py:3"), "absolute path"),
    (set_output(text=f"saved to {ROOT / 'x'}"), "absolute path"),
    (set_output(name="stderr", text="x.py:3: UserWarning: careful"), "warning"),
    (set_output(output_type="error", traceback=["ZeroDivisionError"]), "stores an error"),
    (lambda nb: nb["cells"][0].update(source="# L\n**Prerequisites** none"), "Minutes"),
    (lambda nb: nb["cells"][1].update(source="## Exercise 8.1"), "difficulty"),
    (lambda nb: nb["cells"][1].update(id="a"), "share an id"),
]


def test_a_good_notebook_has_no_problem():
    assert problems(good()) == []


@pytest.mark.parametrize("spoil, message", FAULTS)
def test_each_fault_is_found(spoil, message):
    nb = deepcopy(good())
    spoil(nb)
    assert any(message in problem for problem in problems(nb)), problems(nb)


@pytest.mark.parametrize("text", ["see https://example.org/home/x", "1/tmp", "lessons/results/x.json"])
def test_addresses_and_relative_paths_are_not_absolute(text):
    assert not ABSOLUTE.search(text)
