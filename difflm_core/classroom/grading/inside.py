"""What runs in the kernel: the course's own lines, then the student's, then the course's check.

The student's lines run in a copy of the course's names, so that what they rebind does not reach the check; each
exercise starts from fresh names. `answer` is all that the grader calls.
"""

import ast
import io
import json
import linecache
import sys
import time
import traceback
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from IPython.display import display, publish_display_data

from difflm_core.classroom.checks import CORRECT, CRASHED, NOT_ATTEMPTED, WRONG, Check

SHOWN = 2_000  # characters of an answer's prints, and of a message, that are kept
OUT_OF_MEMORY = "out of memory"
NO_MEMORY = ("MemoryError", "can't allocate memory", "not enough memory", "Cannot allocate memory")
COURSE: dict[str, Any] = {}  # the names that the course's lines have bound for the exercise at hand


class Capped(io.TextIOBase):
    """A stream that keeps its first characters and counts the others."""

    def __init__(self) -> None:
        self.text, self.length = "", 0

    def write(self, text: str) -> int:
        self.text += text[: max(0, SHOWN - len(self.text))]
        self.length += len(text)
        return len(text)

    def writable(self) -> bool:
        return True

    def shown(self) -> str:
        return capped(self.text, self.length)


def capped(text: str, length: int | None = None) -> str:
    """At most SHOWN characters, and how many there were."""
    length = len(text) if length is None else length
    return text if length <= SHOWN else f"{text[:SHOWN]}\n... ({length:,} characters in all)"


def answer(question: str, word: str, inputs: str) -> None:
    """Publish, under the word that marks it, what the question's function returns."""
    found = {"prepare": prepare, "judge": judge}[question](**json.loads(inputs))
    publish_display_data({"application/json": found}, {word: True})


def prepare(code: str) -> dict[str, str]:
    """Run the course's own lines; `problem` is empty if they did not fail."""
    COURSE.clear()
    COURSE.update(__name__="__main__", display=display, get_ipython=get_ipython)  # noqa: F821 (IPython's builtin)
    heard = Capped()
    try:
        with redirect_stdout(heard), redirect_stderr(heard):
            exec(compile(code, "<the lesson's own cells>", "exec"), COURSE)
    except Exception as error:
        return {"problem": f"{type(error).__name__}: {capped(str(error))}"}
    return {"problem": ""}


def judge(check: str, attempt: str, cells: list[dict], memory: float) -> dict[str, Any]:
    """Run the student's cells and ask the check: `status` and `message` as in checks.py, `printed`, `seconds`."""
    began, heard, names = time.monotonic(), Capped(), dict(COURSE)
    asked: Check = COURSE[check]
    try:
        with redirect_stdout(heard), redirect_stderr(heard), address_space(memory):
            for cell in cells:
                run(cell, names)
            outcome = asked.judge(names[attempt])
        status, message = outcome.status, outcome.message
    except BaseException as error:  # a student's code may also raise SystemExit or KeyboardInterrupt
        status, message = CRASHED, f"Exercise {asked.exercise}: {crash(error)}"
    if status in (CRASHED, WRONG) and any(sign in message for sign in NO_MEMORY):
        status = OUT_OF_MEMORY
    # a check that was changed under way might say anything
    status = status if status in (CORRECT, WRONG, CRASHED, NOT_ATTEMPTED, OUT_OF_MEMORY) else CRASHED
    seconds = round(time.monotonic() - began, 2)
    return {"status": status, "message": capped(str(message)), "printed": heard.shown(), "seconds": seconds}


def run(cell: dict, names: dict[str, Any]) -> None:
    """Run the kept statements of a cell, at their own lines, so that a message can show the line."""
    name = f"<code cell {cell['number']}>"
    linecache.cache[name] = (len(cell["source"]), None, cell["source"].splitlines(keepends=True), name)
    tree = ast.parse(cell["source"])
    tree.body = [tree.body[index] for index in cell["keep"]]
    exec(compile(tree, name, "exec"), names)


def crash(error: BaseException) -> str:
    """What stopped a cell that only defines the answer, and where."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith("<code cell")]
    where = f"\n  in line {frames[-1].lineno} of {frames[-1].filename[1:-1]}: {frames[-1].line}" if frames else ""
    return f"your code stopped with {type(error).__name__}: {error}{where}"


@contextmanager
def address_space(gigabytes: float):
    """Refuse this process more than 1.5 times so much new address space, where the system has such a limit (Linux)."""
    if not sys.platform.startswith("linux"):
        yield  # elsewhere the grader's look at the memory, from outside, has to do
        return
    import resource

    pages = int(open("/proc/self/statm").read().split()[0])
    old = resource.getrlimit(resource.RLIMIT_AS)
    # more than allowed: what grows step by step is stopped from outside, before the check can try it once more
    limit = pages * resource.getpagesize() + int(1.5 * gigabytes * 1e9)
    limit = limit if old[1] == resource.RLIM_INFINITY else min(limit, old[1])
    resource.setrlimit(resource.RLIMIT_AS, (limit, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
