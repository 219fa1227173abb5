"""From the text of a lesson to its two notebooks, without executing them.

A lesson is one file lessons/source/NN_name.py in jupytext's py:percent format. Rules beyond jupytext's:

- Solutions stand between `### BEGIN SOLUTION` and `### END SOLUTION` lines inside a function. The student notebook has
  `raise NotImplementedError("Exercise 8.1")` there; the number is that of the nearest `Exercise N.M` written above the
  marker in the same cell (a comment or the docstring).
- A cell tagged `solution` (`# %% [markdown] tags=["solution"]`) appears in the solved notebook only: the reason why.
- A cell tagged `widget` ends in a live widget; the browser test moves its slider.
- The first cell says how long the lesson takes and what it needs: "**Minutes** 45 · **Prerequisites** ...".
- An exercise is headed `### Exercise 8.1 · 10 min · difficulty 2/5`.

Cell ids are derived from the cell's text in the source, so that both notebooks and all builds agree on them.
"""

import ast
import hashlib
import re
from dataclasses import dataclass

import jupytext
import nbformat
from nbformat import NotebookNode

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
FORMAT = 1  # raise it when these rules change, so that all notebooks count as out of step
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
LANGUAGE = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python", "pygments_lexer": "ipython3"}


class SourceError(ValueError):
    """The text source breaks one of the rules above; the message names the line."""


@dataclass(frozen=True)
class Pair:
    """The two notebooks of a lesson; `lines[cell id]` is the line of the source on which the cell's text begins."""

    student: NotebookNode
    solved: NotebookNode
    lines: dict[str, int]


def source_hash(text: str) -> str:
    """What a notebook stores of the source it was made from."""
    return hashlib.sha256(f"{FORMAT}\n{text}".encode()).hexdigest()[:16]


def parse(name: str, text: str) -> Pair:
    """Both notebooks of the lesson `name` (e.g. "08_mdlm"), unexecuted. Raises SourceError naming the line."""
    cells = jupytext.reads(text, fmt="py:percent").cells
    starts = [number + 1 for number, line in enumerate(text.splitlines(), 1) if re.match(r"# %%( |$)", line)]
    if len(cells) != len(starts):
        raise SourceError(
            f"{name}: {len(starts)} lines begin with '# %%' but there are {len(cells)} cells; start with '# %%'."
        )
    student, solved, lines = [], [], {}
    for cell, start in zip(cells, starts, strict=True):
        tags = cell.metadata.get("tags", [])
        cell.metadata = NotebookNode({"tags": tags} if tags else {})
        cell.id = cell_id(cell, lines)
        lines[cell.id] = start
        solved.append(cell)
        if "solution" not in tags:
            copy = NotebookNode(**cell)
            copy.source = (
                without_solution(cell.source, f"{name} line {start}") if cell.cell_type == "code" else cell.source
            )
            student.append(copy)
    stamp = {"source": f"{name}.py", "hash": source_hash(text), "mode": "not executed"}
    return Pair(notebook(student, {**stamp, "kind": "student"}), notebook(solved, {**stamp, "kind": "solved"}), lines)


def notebook(cells: list[NotebookNode], stamp: dict[str, str]) -> NotebookNode:
    """A version 4.5 notebook with these cells, our stamp and a fixed kernel."""
    metadata = {"difflm": stamp, "kernelspec": dict(KERNEL), "language_info": dict(LANGUAGE)}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def cell_id(cell: NotebookNode, taken: dict[str, int]) -> str:
    """Eight hex digits of the cell's type and text; a repeated cell gets the next free digest."""
    copy = 0
    while (key := hashlib.sha256(f"{cell.cell_type}{copy}{cell.source}".encode()).hexdigest()[:8]) in taken:
        copy += 1
    return key


def without_solution(code: str, where: str) -> str:
    """The cell's code with each marked solution replaced by `raise NotImplementedError("Exercise N.M")`."""
    kept, number, inside = [], None, False
    for line in code.split("\n"):
        word = line.strip()
        if not inside and (named := re.search(r"Exercise \d+\.\d+", line)):
            number = named.group()
        if word == BEGIN:
            problem = "it stands inside another" if inside else "name its exercise above it" if not number else ""
            problem = problem or ("it must stand inside a function" if not line.startswith(" ") else "")
            if problem:
                raise SourceError(f"{where}: {BEGIN!r} is out of place: {problem}.")
            kept.append(line[: -len(BEGIN)] + f'raise NotImplementedError("{number}")')
            inside = True
        elif word == END:
            if not inside:
                raise SourceError(f"{where}: {END!r} without {BEGIN!r}.")
            inside = False
        elif not inside:
            kept.append(line)
    if inside:
        raise SourceError(f"{where}: {BEGIN!r} without {END!r}.")
    stripped = "\n".join(kept)
    if stripped != code:
        valid_python(stripped, where)
    return stripped


def valid_python(code: str, where: str) -> None:
    """Raise SourceError if what the student is given does not parse."""
    try:
        ast.parse(code)
    except SyntaxError as error:
        raise SourceError(f"{where}: without its solution the cell is not valid Python ({error}).") from error
