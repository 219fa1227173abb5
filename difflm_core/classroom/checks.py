"""Exercises that check themselves: right answers in any form pass, the usual mistakes are named.

    ex8_1 = Check(
        "8.1",
        test=lambda weight: torch.testing.assert_close(weight(t), 1 / t),       # raises AssertionError if wrong
        mistakes=[(lambda weight: bool((weight(t) < 0).all()), "The sign is wrong: -alpha'/(1 - alpha) is positive.")],
        hints=["Start from alpha_t = 1 - t.", "Its derivative is -1."],
        reference=lambda t: 1 / t,
        praise="Each masked token counts 1/t.",
    )
    ex8_1.run(my_weight)                              # prints what it found; ex8_1.hint() prints the next hint
    weight = ex8_1.answer_or_reference(my_weight)     # later cells run although the exercise is still open

`test` checks properties against exact truth, not equality with one way of writing the answer. It alone decides whether
an answer is right; only a wrong one is shown to the mistakes, in their order, and the first that recognises it speaks.
DIFFLM_STRICT=1 turns everything but a right answer into an AssertionError: solved notebooks and grading run so.
"""

import linecache
import os
import traceback
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch

Attempt = Any  # usually a function; an exercise may also ask for a value
CORRECT, WRONG, CRASHED, NOT_ATTEMPTED = "correct", "wrong", "crashed", "not attempted"


@dataclass
class Outcome:
    """What a check found in one attempt; `tries` counts the runs of this exercise in this session."""

    exercise: str
    status: str
    message: str
    tries: int = 1


RESULTS: dict[str, Outcome] = {}  # the latest outcome of each exercise in this session


@dataclass
class Check:
    """One exercise. By convention the check of exercise 8.1 is called `ex8_1`; `mistakes` are (probe, message) pairs.

    A probe gets the attempt and returns True when it recognises its mistake; one that raises counts as False.
    """

    exercise: str
    test: Callable[[Attempt], None]
    mistakes: Sequence[tuple[Callable[[Attempt], bool], str]] = ()
    hints: Sequence[str] = ()
    reference: Attempt = None
    praise: str = ""
    hints_shown: int = field(default=0, init=False)

    def judge(self, attempt: Attempt) -> Outcome:
        """What is to be said about the attempt; prints and records nothing, and leaves the random state as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            status, message = self._judge(attempt)
        return Outcome(self.exercise, status, f"Exercise {self.exercise}: {message}".rstrip())

    def _judge(self, attempt: Attempt) -> tuple[str, str]:
        if attempt is None or attempt is ...:
            return NOT_ATTEMPTED, "not attempted yet."
        try:
            self.test(attempt)
            return CORRECT, f"correct. {self.praise}"
        except NotImplementedError as error:
            if str(error).startswith("Exercise"):
                return NOT_ATTEMPTED, "not attempted yet."
            status, message = CRASHED, crash(error, attempt)
        except AssertionError as error:
            status, message = WRONG, f"not right yet. {first_lines(error)}"
        except Exception as error:  # whatever a student's function may raise
            status, message = CRASHED, crash(error, attempt)
        named = next((said for probe, said in self.mistakes if recognises(probe, attempt)), None)
        return (WRONG, f"not right yet. {named}") if named else (status, message)

    def run(self, attempt: Attempt) -> None:
        """Judge the attempt, print the verdict, remember it; raise AssertionError if not right and DIFFLM_STRICT=1."""
        outcome = self.judge(attempt)
        outcome.tries = RESULTS[self.exercise].tries + 1 if self.exercise in RESULTS else 1
        RESULTS[self.exercise] = outcome
        if outcome.status != CORRECT and os.environ.get("DIFFLM_STRICT", "") not in ("", "0"):
            raise AssertionError(outcome.message)
        print(outcome.message)
        if outcome.status == NOT_ATTEMPTED and self.hints:
            self.hint(1)
        if outcome.status != CORRECT and self.hints_shown < len(self.hints):
            print(f"ex{self.exercise.replace('.', '_')}.hint() shows the next hint.")

    def hint(self, n: int | None = None) -> None:
        """Print hint `n` (from 1), or the next one not shown so far."""
        n = self.hints_shown + 1 if n is None else n
        if not 1 <= n <= len(self.hints):
            print(f"There are {len(self.hints)} hints; the solved notebook gives the answer and its reason.")
            return
        self.hints_shown = max(self.hints_shown, n)
        print(f"Hint {n} of {len(self.hints)}: {self.hints[n - 1]}")

    def answer_or_reference(self, attempt: Attempt) -> Attempt:
        """The attempt if it is right, else the course's own answer (and a line that says so)."""
        outcome = self.judge(attempt)
        if outcome.status == CORRECT:
            return attempt
        state = "not solved yet" if outcome.status == NOT_ATTEMPTED else "not right yet"
        print(f"Exercise {self.exercise} is {state}: the cells below use the course's own answer.")
        return self.reference


def behaves_like(wrong: Callable, *inputs: Any) -> Callable[[Attempt], bool]:
    """A probe that knows a mistake by example: the attempt returns what the wrong function returns on these inputs.

    mistakes=[(behaves_like(lambda nats, masked: nats[masked].mean(), nats, masked), "You averaged over ...")]
    """

    def probe(attempt: Attempt) -> bool:
        # copies: an attempt that writes into its inputs must not spoil them for the next probe
        torch.testing.assert_close(attempt(*deepcopy(inputs)), wrong(*deepcopy(inputs)), check_dtype=False)
        return True

    return probe


def recognises(probe: Callable[[Attempt], bool], attempt: Attempt) -> bool:
    """Whether the probe says yes; each probe starts from the same random state."""
    torch.manual_seed(0)
    try:
        return bool(probe(attempt))
    except Exception:  # a probe that cannot even run its question has not recognised anything
        return False


def first_lines(error: AssertionError) -> str:
    """The message of a failed assertion in one line (torch's own messages have many)."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3]) if lines else "A property that the answer must have does not hold."


def crash(error: Exception, attempt: Attempt) -> str:
    """What stopped the attempt, and at which of the student's own lines."""
    message = (str(error).strip().splitlines() or [""])[0]
    said = f"your answer stopped with {type(error).__name__}: {message}"
    own = getattr(getattr(attempt, "__code__", None), "co_filename", None)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    if not frames:  # it broke in the check, on what the attempt gave back
        return f"{said}\n  Your function gave None back. Does it end with `return`?" if "NoneType" in said else said
    line = frames[-1].line or linecache.getline(frames[-1].filename, frames[-1].lineno).strip()
    return f"{said}\n  in line {frames[-1].lineno} of its cell: {line}"


def summary() -> None:
    """Print a table of the exercises checked in this session."""
    if not RESULTS:
        print("No exercise has been checked yet.")
        return
    print(f"{'exercise':<10}{'state':<16}tries")
    for outcome in sorted(RESULTS.values(), key=lambda o: tuple(map(int, o.exercise.split(".")))):
        print(f"{outcome.exercise:<10}{outcome.status:<16}{outcome.tries}")
    print(f"{sum(o.status == CORRECT for o in RESULTS.values())} of {len(RESULTS)} correct")
