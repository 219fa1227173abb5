"""A student's own lines for one exercise, taken out of the notebook: nothing else of it is ever run.

Taken are the last definition of the function that the exercise asks for, and the student's own helpers that it needs:
functions, classes and imports from anywhere in the notebook, and values under names that the lesson does not use.
Lines that are the course's, and lines that speak to a check, count for nothing, whether edited, moved or deleted.
"""

import re
from dataclasses import dataclass

from nbformat import NotebookNode

from difflm_core.classroom.grading.course import CHECK_NAME, CourseLesson, Exercise
from difflm_core.classroom.grading.statements import Statement, needed, plain_python, statements

# an honest answer has no reason to mention these; that it does is said to the instructor, and decides nothing
PEEKS = re.compile(rf"\.reference\b|\b{CHECK_NAME.pattern}\b|classroom|\bRESULTS\b|\bsys\.modules\b|\b_getframe\b")


@dataclass(frozen=True)
class Cell:
    """Code cell `number` (from 1, as it stands in the notebook) in plain Python, and which of its statements count."""

    number: int
    source: str
    keep: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """The cells to run, the global names that they read, and what caught the grader's eye."""

    cells: tuple[Cell, ...]
    names: frozenset[str]
    peeks: tuple[str, ...]


class Missing(Exception):
    """The notebook defines no such function."""


class Unchanged(Exception):
    """The function is as it was handed out."""


@dataclass(frozen=True)
class Handed:
    """All that a notebook says in Python: statements, the cells' plain code, and cells that are not Python."""

    program: tuple[Statement, ...]
    sources: dict[int, str]
    broken: dict[int, tuple[str, str]]  # cell -> (its code, what is wrong with it)


def read_notebook(nb: NotebookNode) -> Handed:
    """The code of a notebook, cell by cell."""
    program, sources, broken = [], {}, {}
    codes = [cell.source for cell in nb.cells if cell.cell_type == "code"]
    for number, source in enumerate(codes, 1):
        try:
            sources[number] = plain_python(source)
            program += statements(sources[number], number)
        except (SyntaxError, ValueError, RecursionError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            said = error.msg if isinstance(error, SyntaxError) else str(error)
            broken[number] = (source, f"code cell {number}{line} is not valid Python ({said}).")
    return Handed(tuple(program), sources, broken)


def answer(handed: Handed, exercise: Exercise, lesson: CourseLesson) -> Answer:
    """The student's answer. Raises Missing, Unchanged, or SyntaxError for a cell that is not valid Python."""
    own = [s for s in handed.program if s.text not in lesson.texts and not speaks_to_a_check(s)]
    definitions = [s for s in own if exercise.attempt in s.bound]
    if not definitions:
        # a broken cell hides its definition, so it comes before "not attempted": the student did write something
        for source, problem in handed.broken.values():
            if re.search(rf"\bdef\s+{exercise.attempt}\b|^{exercise.attempt}\s*=", source, re.M):
                raise SyntaxError(problem)
        raise Unchanged if any(s.text == exercise.stub for s in handed.program) else Missing
    given = {name for s in exercise.before for name in s.bound}
    helpers = [s for s in own if exercise.attempt not in s.bound and (s.defines or not s.bound & given)]
    # a function may call what is defined below it, so helpers from everywhere come before the answer
    kept = needed([*helpers, definitions[-1]], {exercise.attempt})
    cells = [
        Cell(number, handed.sources[number], tuple(s.index for s in kept if s.cell == number))
        for number in dict.fromkeys(s.cell for s in kept)
    ]
    names = frozenset().union(*(s.used for s in kept)) - frozenset().union(*(s.bound for s in kept))
    peeks = tuple(sorted({found for s in kept for found in PEEKS.findall(s.text)}))
    return Answer(tuple(cells), names, peeks)


def speaks_to_a_check(statement: Statement) -> bool:
    """`ex8_2.run(f)`, `f = ex8_2.answer_or_reference(f)`, `ex8_2 = None`: not part of an answer."""
    named = any(CHECK_NAME.fullmatch(name) for name in statement.used | statement.bound | statement.changed)
    return named and not (statement.defines and not any(map(CHECK_NAME.fullmatch, statement.bound)))
