"""Marks on disk: one record per notebook, and the tables made of all of them.

    OUT/records/STUDENT/08_mdlm.json   the marks of one notebook, and a key that says what they were made from
    OUT/grades.csv                     a row per student, a column per exercise
    OUT/exercises.csv, grades.json     a row per student and exercise, with messages
    OUT/feedback/STUDENT.md            for the student

Every file is written beside its place and then renamed: an interrupted run leaves none half written.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from difflm_core.classroom.checks import CORRECT, CRASHED, NOT_ATTEMPTED, WRONG
from difflm_core.classroom.grading import course
from difflm_core.classroom.grading.inside import OUT_OF_MEMORY
from difflm_core.classroom.grading.kernel import Limits
from difflm_core.classroom.grading.marks import MISSING, NOT_GRADED, TIMED_OUT, TOO_MUCH_OUTPUT, Mark
from difflm_core.classroom.grading.submissions import Submission

SIGNS = {CORRECT: "✓", WRONG: "✗", CRASHED: "!", NOT_ATTEMPTED: "·", MISSING: "–"}
SIGNS |= {TIMED_OUT: "T", OUT_OF_MEMORY: "M", TOO_MUCH_OUTPUT: "O", NOT_GRADED: "?"}


@dataclass(frozen=True)
class Record:
    """All marks of one student in one lesson; `file` is the notebook ("" if none was handed in)."""

    student: str
    lesson: str
    file: str
    note: str
    key: str
    marks: tuple[Mark, ...]


def key_of(submission: Submission, lesson: course.CourseLesson, limits: Limits) -> str:
    """Changes when the notebook, the lesson, the package's checks or the limits do: then it must be graded again."""
    package = Path(__file__).parents[1]
    texts = [path.read_bytes() for path in sorted([package / "checks.py", *(package / "exercises").rglob("*.py")])]
    parts = [submission.path.read_bytes(), lesson.hash.encode(), json.dumps(asdict(limits)).encode(), *texts]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]


def place(out: Path, student: str, lesson: str) -> Path:
    return out / "records" / student / f"{lesson}.json"


def load(path: Path) -> Record | None:
    """The record, or None if there is none that can be read."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Record(**{**stored, "marks": tuple(Mark(**mark) for mark in stored["marks"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def save(record: Record, out: Path) -> None:
    write(place(out, record.student, record.lesson), json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n")


def write(path: Path, text: str) -> None:
    """Write the file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8", newline="")
    os.replace(beside, path)


def nothing_handed_in(student: str, lesson: course.CourseLesson) -> Record:
    """The record of a student who handed in no notebook of the lesson."""
    said = "no readable notebook of this lesson was handed in."
    marks = tuple(Mark(e.number, MISSING, f"Exercise {e.number}: {said}") for e in lesson.exercises)
    return Record(student, lesson.name, "", said.rstrip("."), "", marks)


def write_tables(records: Sequence[Record], out: Path) -> None:
    """grades.csv, exercises.csv, grades.json and everybody's feedback."""
    write(out / "grades.json", json.dumps([asdict(r) for r in records], indent=1, ensure_ascii=False) + "\n")
    columns = exercises(records)
    wide = [["student", *columns, "correct", "of"]]
    for student, marks in by_student(records).items():
        right = sum(mark.status == CORRECT for mark in marks.values())
        wide.append([student, *(marks[c].status if c in marks else "" for c in columns), right, len(columns)])
    write(out / "grades.csv", as_csv(wide))
    long = [["student", "lesson", "exercise", "status", "seconds", "message", "note", "file"]]
    for r in records:
        for m in r.marks:
            note = "; ".join(filter(None, (r.note, m.note)))
            long.append([r.student, r.lesson, m.exercise, m.status, m.seconds, m.message, note, r.file])
    write(out / "exercises.csv", as_csv(long))
    for student in by_student(records):
        write(out / "feedback" / f"{student}.md", feedback(student, [r for r in records if r.student == student]))


def as_csv(rows: list[list]) -> str:
    """Comma separated; a text that a spreadsheet would take for a formula gets a quote in front."""
    text = io.StringIO()
    csv.writer(text).writerows([[harmless(cell) for cell in row] for row in rows])
    return text.getvalue()


def harmless(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def exercises(records: Sequence[Record]) -> list[str]:
    """The numbers of all exercises, 8.2 before 8.10."""
    return sorted({m.exercise for r in records for m in r.marks}, key=lambda n: tuple(map(int, n.split("."))))


def by_student(records: Sequence[Record]) -> dict[str, dict[str, Mark]]:
    """student -> exercise -> mark."""
    found: dict[str, dict[str, Mark]] = {}
    for record in records:
        found.setdefault(record.student, {}).update({mark.exercise: mark for mark in record.marks})
    return found


def table(records: Sequence[Record]) -> str:
    """What the terminal shows: a line per student, a sign per exercise, and what the signs mean."""
    columns, students = exercises(records), by_student(records)
    width = max((len(student) for student in [*students, "student"]), default=0)
    lines = [f"{'student':{width}}  " + " ".join(f"{c:>5}" for c in columns) + "  correct"]
    for student, marks in students.items():
        signs = " ".join(f"{SIGNS[marks[c].status] if c in marks else '':>5}" for c in columns)
        right = sum(mark.status == CORRECT for mark in marks.values())
        lines.append(f"{student:{width}}  {signs}  {right} of {len(columns)}")
    used = {mark.status for marks in students.values() for mark in marks.values()}
    return "\n".join([*lines, "", "   ".join(f"{sign} {status}" for status, sign in SIGNS.items() if status in used)])


def feedback(student: str, records: Sequence[Record]) -> str:
    """A page of Markdown for one student: what the course's check said about each exercise."""
    marks = [mark for record in records for mark in record.marks]
    right = sum(mark.status == CORRECT for mark in marks)
    lines = [f"# {student}", "", f"{right} of {len(marks)} exercises correct.", ""]
    for record in records:
        lines += [f"## Lesson {record.lesson}", ""]
        for mark in record.marks:
            lines += [f"**{mark.exercise}: {mark.status}** {SIGNS[mark.status]}", "", *indented(mark.message), ""]
            if mark.printed.strip() and mark.status != CORRECT:
                lines += ["Your code printed:", "", *indented(mark.printed), ""]
    return "\n".join(lines).rstrip() + "\n"


def indented(text: str) -> list[str]:
    """As a Markdown code block, whatever is in it."""
    return [f"    {line}".rstrip() for line in text.rstrip().splitlines()]
