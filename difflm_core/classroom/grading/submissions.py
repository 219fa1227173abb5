"""Who handed in what: a folder with one subfolder per student, or one notebook file per student, names as they come.

Which lesson a notebook is, its metadata say; without them (some services drop them), its file name does:
`08_mdlm (2).ipynb`, `ada_08_mdlm.ipynb`, `ada-08.ipynb`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.reader import NotJSONError


class GradingError(RuntimeError):
    """Nothing can be graded; the message is one sentence that says why."""


@dataclass(frozen=True)
class Submission:
    """A student's notebook of one lesson; `note` says what the instructor should know about the file."""

    student: str
    lesson: str
    path: Path
    notebook: NotebookNode
    note: str = ""


@dataclass(frozen=True)
class Found:
    """The notebooks to grade, all students (those without one too), and one sentence for each file left out."""

    submissions: tuple[Submission, ...]
    students: tuple[str, ...]
    left_out: tuple[str, ...]


def find(folder: Path, lessons: Sequence[str], wanted: Sequence[str]) -> Found:
    """What lies in the folder. `lessons` are all names of the course, `wanted` those to grade. Raises GradingError."""
    if not folder.is_dir():
        raise GradingError(f"there is no folder {folder}.")
    files = sorted(path for path in folder.rglob("*.ipynb") if path.is_file() and not hidden(path.relative_to(folder)))
    if not files:
        raise GradingError(f"there is no notebook (*.ipynb) in {folder}; give the folder with the students' files.")
    newest: dict[tuple[str, str], Submission] = {}
    students, left_out = set(), []
    for path in files:
        name = str(path.relative_to(folder))
        try:
            notebook = read(path)
        except ValueError as error:
            students.add(student_of(path, folder, lessons))
            left_out.append(f"{name}: {error}")
            continue
        lesson = lesson_of(notebook, path, lessons)
        if lesson is None:
            left_out.append(f"{name}: is none of this course's lessons, by its metadata or its name.")
            continue
        student = student_of(path, folder, [lesson])
        students.add(student)
        if lesson not in wanted:
            left_out.append(f"{name}: is lesson {lesson}, which was not asked for.")
            continue
        submission = Submission(student, lesson, path, notebook, note_on(notebook))
        if (other := newest.get((student, lesson))) is not None:
            older, submission = sorted((other, submission), key=lambda s: (s.path.stat().st_mtime, str(s.path)))
            left_out.append(f"{older.path.relative_to(folder)}: {student} has a newer one, {submission.path.name}.")
        newest[student, lesson] = submission
    submissions = sorted(newest.values(), key=lambda s: (s.student, s.lesson))
    return Found(tuple(submissions), tuple(sorted(students)), tuple(left_out))


def hidden(path: Path) -> bool:
    """Whether it is a copy that JupyterLab or an archive left behind."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def read(path: Path) -> NotebookNode:
    """The notebook, in format 4. Raises ValueError with a sentence if it is none."""
    try:
        notebook = nbformat.read(path, as_version=4)
        codes = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    except (NotJSONError, UnicodeDecodeError):
        raise ValueError("is not a notebook (no JSON in it).") from None
    except Exception as error:  # nbformat raises many kinds for what is JSON but no notebook
        raise ValueError(f"is not a notebook ({type(error).__name__}).") from None
    if not all(isinstance(code, str) for code in codes):
        raise ValueError("is not a notebook (a cell without text).")
    return notebook


def lesson_of(notebook: NotebookNode, path: Path, lessons: Sequence[str]) -> str | None:
    """The lesson's name by the stamp in the metadata, else by the file name: the whole name, else its number."""
    stamp = notebook.metadata.get("difflm", {})
    source = str(stamp.get("source", "")) if isinstance(stamp, dict) else ""
    if source.removesuffix(".py") in lessons:
        return source.removesuffix(".py")
    for lesson in lessons:
        if lesson in path.stem:
            return lesson
    numbers = re.findall(r"(?<!\d)\d\d(?!\d)", path.stem)
    matching = [lesson for lesson in lessons if lesson[:2] in numbers]
    return matching[0] if len(matching) == 1 else None


def student_of(path: Path, folder: Path, lessons: Sequence[str]) -> str:
    """The subfolder's name; for a file at the top its name without the lesson's, or else the folder's name."""
    parts = path.relative_to(folder).parts
    if len(parts) > 1:
        return parts[0]
    name = re.sub(r"( \(\d+\)|-Copy\d+)$", "", path.stem)
    for lesson in lessons:
        name = re.sub(rf"{re.escape(lesson)}|(?<!\d){lesson[:2]}(?!\d)", " ", name)
    return name.strip(" _-.") or folder.resolve().name


def note_on(notebook: NotebookNode) -> str:
    stamp = notebook.metadata.get("difflm", {})
    solved = isinstance(stamp, dict) and stamp.get("kind") == "solved"
    return "this is the course's solved notebook, or was made from it" if solved else ""
