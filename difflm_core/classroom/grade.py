"""Grade handed-in notebooks: `python -m difflm_core.classroom.grade FOLDER`.

FOLDER holds one subfolder or one notebook file per student. Of each notebook only the student's own lines for the
exercises are run, in a fresh kernel with limits, and judged by the course's checks as they are in this checkout: checks
that were changed or deleted in the notebook change nothing. Beside FOLDER appear tables and a page for each student.

This is no security sandbox: the students' code runs with your rights on this machine. docs/grading.md says how to run
it in a container.
"""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from difflm_core.classroom.grading.course import CourseLesson
    from difflm_core.classroom.grading.kernel import Limits
    from difflm_core.classroom.grading.records import Record
    from difflm_core.classroom.grading.submissions import Submission

EPILOG = """\
Exit status: 0 everything was graded, 1 something could not be (it says what), 2 a wrong option, 130 interrupted.
NO SECURITY SANDBOX: the limits stop accidents, not attacks; the students' code runs with your rights. Grade notebooks
of people you do not trust inside a container: docs/grading.md gives the command."""


def parser() -> argparse.ArgumentParser:
    said = argparse.ArgumentParser(
        prog="python -m difflm_core.classroom.grade",
        description="Grade handed-in notebooks with the course's own checks, in a fresh kernel with limits.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    said.add_argument("folder", type=Path, metavar="FOLDER", help="one subfolder or one notebook per student")
    said.add_argument(
        "--lesson", nargs="+", default=[], metavar="NN", help="only these lessons, e.g. 08 10 (default: all handed in)"
    )
    said.add_argument("--out", type=Path, help="where the results go (default: FOLDER-graded, beside FOLDER)")
    said.add_argument("--again", action="store_true", help="grade again what was graded before")
    said.add_argument("--seconds", type=positive, default=60, help="for one exercise (default: 60)")
    said.add_argument("--notebook-seconds", type=positive, default=600, help="for one notebook (default: 600)")
    said.add_argument("--memory", type=positive, default=4, metavar="GB", help="for one kernel (default: 4)")
    said.add_argument("--full", action="store_true", help="the lessons' full sizes instead of the fast mode; minutes")
    return said


def positive(text: str) -> float:
    value = float(text)  # argparse says what is wrong if this fails
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text}")
    return value


def chosen(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The lessons that begin with one of the wanted names; all if none is. Raises GradingError."""
    from difflm_core.classroom.grading.submissions import GradingError

    for name in wanted:
        if not any(lesson.startswith(name) for lesson in names):
            raise GradingError(f"no lesson begins with {name!r}; there are: {', '.join(names)}.")
    return [lesson for lesson in names if not wanted or any(lesson.startswith(name) for name in wanted)]


def grade(options: argparse.Namespace) -> int:
    """Grade the folder, write the results, print the table; the exit status. Raises GradingError."""
    from difflm_core.classroom.grading import records  # imports torch, which --help does without
    from difflm_core.classroom.grading.course import read_lesson
    from difflm_core.classroom.grading.kernel import Limits
    from difflm_core.classroom.grading.submissions import GradingError, find
    from difflm_core.classroom.lesson import lessons_folder

    sources = {path.stem: path for path in sorted((lessons_folder() / "source").glob("[0-9][0-9]_*.py"))}
    folder, wanted = options.folder.resolve(), chosen(list(sources), options.lesson)
    out = (options.out or folder.with_name(f"{folder.name}-graded")).resolve()
    if out.is_relative_to(folder):
        raise GradingError("--out must lie outside FOLDER, or the results would be taken for a student.")
    found = find(folder, list(sources), wanted)
    if not found.submissions:
        raise GradingError(f"nothing to grade in {folder}: {' '.join(found.left_out)}")
    # a lesson asked for is missing where nobody handed it in; without the wish it does not appear
    names = wanted if options.lesson else sorted({s.lesson for s in found.submissions})
    lessons = {name: read_lesson(sources[name], options.full) for name in names}
    limits = Limits(options.seconds, options.notebook_seconds, options.memory, options.full)
    graded = {}
    with tqdm(found.submissions, unit="notebook", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        for submission in bar:
            bar.set_description(submission.student[-30:])
            record = one(submission, lessons[submission.lesson], limits, folder, out, options.again, bar)
            graded[submission.student, submission.lesson] = record
    everything = [
        graded.get((student, name)) or records.nothing_handed_in(student, lesson)
        for student in found.students
        for name, lesson in lessons.items()
    ]
    records.write_tables(everything, out)
    print(records.table(everything))
    good = report(everything, found.left_out)
    print(f"\n{len(graded)} notebooks graded; grades.csv, exercises.csv, grades.json and feedback/ are in {out}")
    return 0 if good else 1


def one(
    submission: "Submission", lesson: "CourseLesson", limits: "Limits", folder: Path, out: Path, again: bool, bar: tqdm
) -> "Record":
    """The record of one notebook, from disk if it is there and still holds; else graded, and stored at once."""
    from difflm_core.classroom.grading import records
    from difflm_core.classroom.grading.marks import NOT_GRADED, grade_notebook

    key = records.key_of(submission, lesson, limits)
    stored = records.load(records.place(out, submission.student, submission.lesson))
    if stored and stored.key == key and not again and all(m.status != NOT_GRADED for m in stored.marks):
        return stored  # what could not be graded for the course's own reasons is always tried again
    marks = grade_notebook(
        submission.notebook, lesson, limits, lambda number: bar.set_postfix_str(f"exercise {number}")
    )
    file = submission.path.relative_to(folder).as_posix()
    record = records.Record(submission.student, lesson.name, file, submission.note, key, tuple(marks))
    records.save(record, out)
    return record


def report(everything: "Sequence[Record]", left_out: Sequence[str]) -> bool:
    """Print what the table does not say; whether everything that was handed in could be graded."""
    from difflm_core.classroom.grading.marks import NOT_GRADED

    noted = [(f"{r.student}, {m.exercise}: {m.note}", m.status) for r in everything for m in r.marks if m.note]
    troubles = [line for line, status in noted if status == NOT_GRADED]
    notes = [line for line, status in noted if status != NOT_GRADED]
    notes += [f"{r.student}, lesson {r.lesson}: {r.note}" for r in everything if r.note and r.file]
    for heading, lines in {"Not graded": troubles, "Left out": left_out, "To look at": notes}.items():
        if lines:
            print(f"\n{heading}:", *lines, sep="\n  ")
    return not troubles and not any("is not a notebook" in line for line in left_out)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    logging.getLogger("traitlets").setLevel(logging.CRITICAL)  # a kernel that was killed is no news
    from difflm_core.classroom.grading.submissions import GradingError
    from difflm_core.classroom.notebooks import SourceError

    try:
        return grade(options)
    except (GradingError, SourceError, FileNotFoundError, PermissionError) as error:
        print(f"{str(error)[:1].upper()}{str(error)[1:]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; what is graded is kept, and the same command goes on from there.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no kernel and no folder is left behind
    sys.exit(main())
