"""What students get wrong: `python -m difflm_core.classroom.misconceptions [LESSON ...]`.

Prints, as Markdown, each lesson's exercises with the usual mistakes that their checks know: what the check answers,
and with --code the wrong answer by which it knows the mistake. Both are read from the exercises themselves
(`Check.mistakes` and the source around it), so that a page of misconceptions and the checks cannot disagree.
"""

import argparse
import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from difflm_core.classroom import exercises
from difflm_core.classroom.checks import Check
from difflm_core.classroom.course_map import QUESTIONS
from difflm_core.classroom.lesson import lessons_folder

HEADING = re.compile(r"^# ### (Exercise (\d+\.\d+) .*)$", re.M)


@dataclass(frozen=True)
class Mistake:
    """What the check says, and how it recognises the mistake ("" if that is not written beside the words)."""

    said: str
    known_by: str


@dataclass(frozen=True)
class Exercise:
    """Exercise `number` ("8.2"); an open one is measured, and its bank may be empty."""

    number: str
    about: str
    is_open: bool
    mistakes: tuple[Mistake, ...]


def written() -> list[str]:
    """The lessons whose exercises are there, by name ("08_mdlm"), in order."""
    rooms = {name.removeprefix("lesson_") for _, name, _ in pkgutil.iter_modules(exercises.__path__)}
    return [lesson for lesson in QUESTIONS if lesson[:2] in rooms]


def chosen(names: Sequence[str]) -> list[str]:
    """The lessons that begin with one of the names ("8" counts as "08"); all if there is none. Raises ValueError."""
    wanted = [name.zfill(2) for name in names]
    for name in wanted:
        if not any(lesson.startswith(name) for lesson in QUESTIONS):
            raise ValueError(f"No lesson begins with {name!r}; those with exercises are: {', '.join(written())}.")
        if not any(lesson.startswith(name) for lesson in written()):
            raise ValueError(f"Lesson {name} has no exercises yet; those with exercises are: {', '.join(written())}.")
    return [lesson for lesson in written() if not wanted or lesson.startswith(tuple(wanted))]


def exercises_of(lesson: str) -> list[Exercise]:
    """The exercises of a lesson ("08_mdlm") with their banks of mistakes, in order."""
    room = importlib.import_module(f"{exercises.__name__}.lesson_{lesson[:2]}")
    headings = headings_of(lesson)
    return [exercise(name.removeprefix("ex").replace("_", "."), getattr(room, name), headings) for name in room.__all__]


def exercise(number: str, check: object, headings: dict[str, str]) -> Exercise:
    """`check` is a Check, or, of an open exercise, the function that makes one from a trained model.

    That function cannot be called here, so the bank of an open exercise is the constant MISTAKES of its module, if any.
    """
    is_open = not isinstance(check, Check)
    home = sys.modules[(check if is_open else check.test).__module__]
    bank = vars(home).get("MISTAKES", ()) if is_open else check.mistakes
    sources = probes(home) | (probes(sys.modules[bank_module]) if (bank_module := module_of(home)) else {})
    about = headings.get(number) or f"Exercise {number}"
    return Exercise(number, about, is_open, tuple(Mistake(said, sources.get(said, "")) for _, said in bank))


def module_of(home: ModuleType) -> str:
    """The module from which `home` imports its MISTAKES; "" if it has its own or none."""
    found = re.search(r"from ([\w.]+) import MISTAKES", inspect.getsource(home))
    return found[1] if found else ""


@cache
def probes(module: ModuleType) -> dict[str, str]:
    """What a check says -> the code of the probe that stands before it, for every pair (probe, "words") of a module."""
    pairs = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Tuple)]
    found = {}
    for pair in pairs:
        if len(pair.elts) == 2 and isinstance(pair.elts[1], ast.Constant) and isinstance(pair.elts[1].value, str):
            found[pair.elts[1].value] = ast.unparse(pair.elts[0])
    return found


def headings_of(lesson: str) -> dict[str, str]:
    """Number -> heading ("Exercise 8.2 · 10 min · difficulty 3/5 · ..."), from the lesson's source if it is here."""
    source = lessons_folder() / "source" / f"{lesson}.py"
    text = source.read_text(encoding="utf-8") if source.is_file() else ""
    return {number: heading for heading, number in HEADING.findall(text)}


def page(lessons: Sequence[str], code: bool = False) -> str:
    """The Markdown page for these lessons."""
    lines = ["# Usual mistakes, as the checks name them", ""]
    for lesson in lessons:
        lines += [f"## Lesson {lesson[:2]} · {QUESTIONS[lesson]}", ""]
        for found in exercises_of(lesson):
            lines += [f"### {found.about}", ""]
            lines += [line for mistake in found.mistakes for line in bullet(mistake, code)] or [none_named(found)]
            lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def bullet(mistake: Mistake, code: bool) -> list[str]:
    lines = [f"- {mistake.said}"]
    if code and mistake.known_by:
        lines += [f"  - known by: `{mistake.known_by}`"]
    return lines


def none_named(found: Exercise) -> str:
    return (
        "(Open: what comes out is measured, and the check says what is missing.)" if found.is_open else "(None named.)"
    )


def parser() -> argparse.ArgumentParser:
    said = argparse.ArgumentParser(
        prog="python -m difflm_core.classroom.misconceptions",
        description="Print the usual mistakes of each exercise, as its check names them, in Markdown.",
    )
    said.add_argument("lessons", nargs="*", metavar="LESSON", help="by number or name, e.g. 08 10 (default: all)")
    said.add_argument("--code", action="store_true", help="also the code by which a mistake is known")
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        print(page(chosen(options.lessons), options.code), end="")
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # | head
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
