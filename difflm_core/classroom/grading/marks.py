"""One notebook -> one mark per exercise. If an answer ends its kernel, the next one gets a new kernel."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from nbformat import NotebookNode

from difflm_core.classroom.checks import CORRECT, CRASHED, NOT_ATTEMPTED, WRONG
from difflm_core.classroom.grading.answers import Answer, Handed, Missing, Unchanged, answer, read_notebook
from difflm_core.classroom.grading.course import CourseLesson, Exercise, preparation
from difflm_core.classroom.grading.inside import OUT_OF_MEMORY
from difflm_core.classroom.grading.kernel import Flood, Kernel, KernelStopped, Limits, OutOfMemory, TimeUp

MISSING, TIMED_OUT, TOO_MUCH_OUTPUT, NOT_GRADED = "missing", "timed out", "too much output", "not graded"
STATUSES = (
    *(CORRECT, WRONG, CRASHED, NOT_ATTEMPTED, MISSING),
    *(TIMED_OUT, OUT_OF_MEMORY, TOO_MUCH_OUTPUT, NOT_GRADED),
)
WHY = {TimeUp: TIMED_OUT, OutOfMemory: OUT_OF_MEMORY, Flood: TOO_MUCH_OUTPUT}
PREPARATION_S = 600  # the course's own cells, which may train a model


@dataclass(frozen=True)
class Mark:
    """One exercise of one notebook. `message` is for the student, `note` for the instructor; `seconds` of its code."""

    exercise: str
    status: str
    message: str
    seconds: float = 0.0
    printed: str = ""
    note: str = ""


def grade_notebook(
    nb: NotebookNode, lesson: CourseLesson, limits: Limits, begins: Callable[[str], None] = lambda number: None
) -> list[Mark]:
    """A mark for each exercise of the lesson, in order; `begins` hears the number of each before it is graded."""
    handed, marks = read_notebook(nb), []
    with tempfile.TemporaryDirectory(prefix="difflm-grade-", ignore_cleanup_errors=True) as folder:
        session = Session(Path(folder), limits)
        try:
            for exercise in lesson.exercises:
                begins(exercise.number)
                marks.append(grade_exercise(handed, exercise, lesson, session))
        finally:
            session.close()
    return marks


def grade_exercise(handed: Handed, exercise: Exercise, lesson: CourseLesson, session: "Session") -> Mark:
    """The mark of one exercise; only an answer that is there and is Python needs the kernel."""

    def mark(status: str, message: str, **more) -> Mark:
        return Mark(exercise.number, status, message, **more)

    begin = f"Exercise {exercise.number}: "
    try:
        found = answer(handed, exercise, lesson)
    except Missing:
        return mark(MISSING, f"{begin}the notebook does not define `{exercise.attempt}`; was its cell deleted?")
    except Unchanged:
        return mark(NOT_ATTEMPTED, f"{begin}not attempted yet.")
    except SyntaxError as error:
        return mark(CRASHED, f"{begin}{error.msg}")
    note = f"mentions {', '.join(found.peeks)}: read this answer" if found.peeks else ""
    if session.left <= 0:
        return mark(TIMED_OUT, f"{begin}the {session.limits.notebook_seconds:.0f} seconds for a notebook were used up.")
    try:
        return mark(**session.judge(exercise, found), note=note)
    except Unprepared as error:
        return mark(NOT_GRADED, f"{begin}not graded; {error}", note=str(error))


class Unprepared(Exception):
    """The course's own lines failed: the instructor's business, not the student's."""


class Session:
    """The kernel of one notebook, started when it is first needed and again after an answer has ended it."""

    def __init__(self, folder: Path, limits: Limits):
        self.folder, self.limits, self.left = folder, limits, limits.notebook_seconds
        self.kernel: Kernel | None = None

    def close(self) -> None:
        if self.kernel:
            self.kernel.stop()
        self.kernel = None

    def judge(self, exercise: Exercise, found: Answer) -> dict:
        """status, message, printed and seconds of this answer. Raises Unprepared."""
        self.prepare(exercise, found)
        allowed = min(self.limits.seconds, self.left)
        try:
            said = self.kernel.ask(
                "judge",
                allowed,
                check=exercise.check,
                attempt=exercise.attempt,
                cells=[asdict(cell) for cell in found.cells],
                memory=self.limits.memory,
            )
        except KernelStopped as stopped:
            self.kernel = None  # it has stopped itself
            self.left -= allowed if isinstance(stopped, TimeUp) else 0
            seconds = allowed if isinstance(stopped, TimeUp) else 0.0
            message = f"Exercise {exercise.number}: {stopped}"
            return {"status": WHY.get(type(stopped), CRASHED), "message": message, "seconds": seconds}
        self.left -= said["seconds"]
        return said

    def prepare(self, exercise: Exercise, found: Answer) -> None:
        try:
            self.kernel = self.kernel or Kernel(self.folder, self.limits)
            problem = self.kernel.ask("prepare", PREPARATION_S, code=preparation(exercise, found.names))["problem"]
        except KernelStopped as stopped:
            self.kernel, problem = None, str(stopped)
        if problem:
            raise Unprepared(f"the lesson's own cells before exercise {exercise.number} failed: {problem}")
