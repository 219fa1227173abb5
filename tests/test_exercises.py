"""What holds for every exercise of every lesson: it helps who is stuck, and takes neither a crash nor nonsense for
an answer. What each exercise says about its own mistakes is tested in test_exercises_NN.py.
"""

import importlib
import pkgutil

import pytest
import torch
from judging import passes

from difflm_core.classroom import checks, exercises
from difflm_core.classroom.checks import CRASHED, NOT_ATTEMPTED, WRONG, Check

LESSONS = [name for _, name, _ in pkgutil.iter_modules(exercises.__path__) if name.startswith("lesson_")]
MODULES = {name: importlib.import_module(f"{exercises.__name__}.{name}") for name in LESSONS}
CHECKS = [c for module in MODULES.values() for c in map(module.__dict__.get, module.__all__) if isinstance(c, Check)]
each = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.exercise)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv("DIFFLM_STRICT", raising=False)
    monkeypatch.setattr(checks, "RESULTS", {})


@each
def test_an_open_exercise_gets_a_hint(check, capsys, monkeypatch):
    def unfilled(*inputs):
        raise NotImplementedError(f"Exercise {check.exercise}")

    monkeypatch.setattr(check, "hints_shown", 0)
    check.run(unfilled)
    said = capsys.readouterr().out
    assert "not attempted yet." in said and f"Hint 1 of {len(check.hints)}: {check.hints[0]}" in said
    assert checks.RESULTS[check.exercise].status == NOT_ATTEMPTED


@each
def test_a_crash_is_told_with_its_line(check):
    def crashing(*inputs):
        return inputs[99]

    outcome = check.judge(crashing)
    assert outcome.status == CRASHED and "IndexError" in outcome.message and "return inputs[99]" in outcome.message


@each
@pytest.mark.parametrize("nonsense", [lambda *inputs: None, lambda *inputs: torch.zeros(7), lambda *inputs: "text"])
def test_nonsense_is_not_right(check, nonsense):
    assert check.judge(nonsense).status in (WRONG, CRASHED)


@each
def test_the_reference_is_right_and_every_mistake_has_a_message(check):
    passes(check, check.reference)
    assert all(message for _, message in check.mistakes) and check.praise and len(check.hints) >= 2


@pytest.mark.parametrize("lesson", LESSONS)
def test_exercises_are_numbered_like_their_lesson(lesson):
    number, names = int(lesson.removeprefix("lesson_")), MODULES[lesson].__all__
    assert sorted(names) == [f"ex{number}_{i + 1}" for i in range(len(names))]
    closed = {name: c for name, c in vars(MODULES[lesson]).items() if isinstance(c, Check) and name in names}
    assert all(name == f"ex{c.exercise.replace('.', '_')}" for name, c in closed.items())


def test_all_lessons_are_found():
    assert len(CHECKS) >= 3 * len(LESSONS) > 0
