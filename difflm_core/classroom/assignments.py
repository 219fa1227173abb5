"""Lessons as nbgrader assignments: `python -m difflm_core.classroom.assignments NAME [...] --out COURSE`.

Writes COURSE/source/NAME/NAME.ipynb from the lesson's text source, and COURSE/nbgrader_config.py if there is none. The
course's solution markers are nbgrader's own, so what is added is cell metadata and hidden tests:

- a cell with a marked solution is the student's; what it does from the check on is cut off into a cell of its own;
- a cell that runs a check is locked and gives points, as many as the exercise's difficulty;
- in it, hidden from students, stands what makes nbgrader see a wrong answer (a check alone prints and goes on).

The explanations of the solved notebook are left out. nbgrader itself is not needed here, and no dependency.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from difflm_core.classroom.build import chosen
from difflm_core.classroom.commands import status_of
from difflm_core.classroom.notebooks import BEGIN, parse

RUN = re.compile(r"^(ex(\d+)_(\d+))\.run\((\w+)\)$", re.M)
HEADING = re.compile(r"^### Exercise (\d+)\.(\d+) .*difficulty (\d)/5", re.M)
NUMBER = re.compile(r"Exercise (\d+)\.(\d+)")
CONFIG = """\
c = get_config()
c.CourseDirectory.course_id = "difflm"
# the checks know an open exercise by this word, and then give the first hint
c.ClearSolutions.code_stub = {"python": 'raise NotImplementedError("Exercise")  # your code here'}
c.ExecutePreprocessor.timeout = 600  # seconds for a cell
"""
HIDDEN = "### BEGIN HIDDEN TESTS\n{}\n### END HIDDEN TESTS"


def assignment(name: str, text: str) -> NotebookNode:
    """The lesson `name` as nbgrader's source version. Raises SourceError if the source breaks the course's rules."""
    nb = parse(name, text).solved
    points = {
        (lesson, number): int(difficulty)
        for cell in nb.cells
        if cell.cell_type == "markdown"
        for lesson, number, difficulty in HEADING.findall(cell.source)
    }
    cells = []
    for cell in nb.cells:
        if "solution" in cell.metadata.get("tags", []):
            continue
        found = RUN.search(cell.source) if cell.cell_type == "code" else None
        start = found.start() if found else len(cell.source)
        before, check = cell.source[:start], cell.source[start:]
        if BEGIN in before:
            lesson, number = NUMBER.search(before).groups()
            cells.append(graded(before.rstrip(), cell.id, f"answer_{lesson}_{number}", solution=True))
            before, cell.id = "", f"{cell.id}-check"
        elif found is None:
            cells.append(cell)
        if found is not None:
            value = points.get((found[2], found[3]), 1)
            check = with_hidden_tests(before + check, found)
            cells.append(graded(check, cell.id, f"check_{found[2]}_{found[3]}", points=value))
    nb.cells = cells
    return nb


def graded(source: str, id: str, name: str, points: int | None = None, solution: bool = False) -> NotebookNode:
    """A code cell with nbgrader's metadata (schema 3)."""
    data = {"schema_version": 3, "grade_id": name, "cell_type": "code", "task": False}
    data |= {"solution": solution, "grade": points is not None, "locked": not solution}
    data |= {} if points is None else {"points": points}
    return new_code_cell(source, id=id, metadata={"nbgrader": data})


def with_hidden_tests(source: str, found: re.Match) -> str:
    """Judge right after the check, fail at the end of the cell: what follows the check runs in either case."""
    judge = HIDDEN.format(f"graded = {found[1]}.judge({found[4]})")
    fail = HIDDEN.format('assert graded.status == "correct", graded.message')
    return RUN.sub(lambda run: f"{run[0]}\n{judge}", source, count=1) + f"\n{fail}"


def main(arguments: Sequence[str] | None = None) -> int:
    said = argparse.ArgumentParser(
        prog="python -m difflm_core.classroom.assignments", description="Write lessons as nbgrader assignments."
    )
    said.add_argument("names", nargs="+", metavar="NAME", help="lessons by the beginning of their name, e.g. 08")
    said.add_argument("--out", type=Path, required=True, metavar="COURSE", help="the folder of your nbgrader course")
    options = said.parse_args(arguments)

    def work() -> None:
        for source in chosen(options.names):
            path = options.out / "source" / source.stem / f"{source.stem}.ipynb"
            nb = assignment(source.stem, source.read_text(encoding="utf-8"))
            path.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(nb, path)
            print(path)
        if not (config := options.out / "nbgrader_config.py").exists():
            config.write_text(CONFIG, encoding="utf-8")
            print(config)

    return status_of(work)


if __name__ == "__main__":
    sys.exit(main())
