"""A lesson as the grader sees it: its exercises, and the course's own lines that come before each check.

Everything is read from lessons/source, never from a handed-in notebook. An exercise is the statement
`ex8_2.run(training_loss)` of the student's version; what stands above it in the lesson is there for the check.
"""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from difflm_core.classroom.grading.statements import Statement, needed, read, statements
from difflm_core.classroom.notebooks import parse, source_hash

CHECK_NAME = re.compile(r"ex\d+_\d+")


@dataclass(frozen=True)
class Exercise:
    """Exercise `number` ("8.2"): its check is called `check`, the student defines `attempt`, given as `stub`."""

    number: str
    check: str
    attempt: str
    stub: str
    before: tuple[Statement, ...]  # the course's lines above the check, earlier exercises answered by the course


@dataclass(frozen=True)
class CourseLesson:
    """A lesson by its name ("08_mdlm"), the version that `hash` names."""

    name: str
    hash: str
    exercises: tuple[Exercise, ...]
    texts: frozenset[str]  # every statement that the student was given

    @property
    def number(self) -> str:
        return self.name[:2]


class Picked(ast.NodeTransformer):
    """`lesson.pick(full, fast)` -> the one that this mode takes, so that nobody computes the other."""

    def __init__(self, full: bool):
        self.place = 0 if full else 1

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if ast.unparse(node.func) != "lesson.pick" or len(node.args) + len(node.keywords) != 2:
            return node
        by_name = {keyword.arg: keyword.value for keyword in node.keywords}
        return by_name.get(("full", "fast")[self.place]) or node.args[self.place]


def read_lesson(source: Path, full: bool = False) -> CourseLesson:
    """The lesson of lessons/source/NN_name.py, in full or fast mode. Raises SourceError if it breaks its rules."""
    text = source.read_text(encoding="utf-8")
    cells = [cell.source for cell in parse(source.stem, text).student.cells if cell.cell_type == "code"]
    given = [statement for number, cell in enumerate(cells) for statement in statements(cell, number)]
    exercises: list[Exercise] = []
    program: list[Statement] = []
    for statement in given:
        if found := run_of(statement):
            check, attempt = found
            stub = max(i for i, earlier in enumerate(program) if attempt in earlier.bound)
            before = program[:stub] + program[stub + 1 :]
            number = check.removeprefix("ex").replace("_", ".")
            exercises.append(Exercise(number, check, attempt, program[stub].text, tuple(before)))
            answered = ast.parse(f"{attempt} = {check}.reference").body[0]
            program = [*before, read(answered, statement.cell, statement.index)]
        elif not asks_check(statement):
            picked = Picked(full).visit(ast.parse(statement.text)).body[0]
            program.append(read(picked, statement.cell, statement.index))
    return CourseLesson(source.stem, source_hash(text), tuple(exercises), frozenset(s.text for s in given))


def run_of(statement: Statement) -> tuple[str, str] | None:
    """("ex8_2", "training_loss") of `ex8_2.run(training_loss)`, else None."""
    found = re.fullmatch(rf"({CHECK_NAME.pattern})\.run\((\w+)\)", statement.text)
    return (found[1], found[2]) if found else None


def asks_check(statement: Statement) -> bool:
    """Whether the statement puts a question to a check: run, answer_or_reference, hint."""
    return bool(re.search(rf"\b{CHECK_NAME.pattern}\.(run|answer_or_reference|hint)\(", statement.text))


def preparation(exercise: Exercise, names: Iterable[str]) -> str:
    """The course's own code that must run before the check and an answer that reads these global names."""
    return "\n".join(s.text for s in needed(exercise.before, {exercise.check, *names}))
