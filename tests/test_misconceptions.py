"""The page of misconceptions: every mistake that a check knows is on it, once, with how it is known."""

import importlib

import pytest

from difflm_core.classroom import misconceptions
from difflm_core.classroom.checks import Check
from difflm_core.classroom.exercises.lesson_03 import content
from difflm_core.classroom.misconceptions import Mistake, bullet, chosen, exercises_of, page, written

LESSONS = written()


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_page_has_what_the_checks_say(lesson):
    room = importlib.import_module(f"difflm_core.classroom.exercises.lesson_{lesson[:2]}")
    found = {exercise.number: exercise for exercise in exercises_of(lesson)}
    assert [f"ex{number.replace('.', '_')}" for number in found] == room.__all__
    text = page([lesson])
    for name in room.__all__:
        check, exercise = getattr(room, name), found[name.removeprefix("ex").replace("_", ".")]
        assert exercise.is_open == (not isinstance(check, Check)) and exercise.about in text
        if isinstance(check, Check):
            assert [mistake.said for mistake in exercise.mistakes] == [said for _, said in check.mistakes]
            assert all(f"- {said}" in text.splitlines() for _, said in check.mistakes)


def test_nearly_every_mistake_shows_how_it_is_known():
    mistakes = [mistake for lesson in LESSONS for exercise in exercises_of(lesson) for mistake in exercise.mistakes]
    assert len(mistakes) > 300 and sum(bool(mistake.known_by) for mistake in mistakes) > 0.98 * len(mistakes)


def test_an_open_exercise_shows_the_bank_of_its_module():
    listener = next(exercise for exercise in exercises_of("03_latent_ld4lg") if exercise.number == "3.5")
    assert listener.is_open and listener.mistakes[0] == Mistake(content.MISTAKES[0][1], "kept")
    assert [said for _, said in content.mistakes(None)] == [said for _, said in content.MISTAKES]
    assert "(Open: what comes out is measured" in page(["08_mdlm"])


def test_headings_come_from_the_lesson_and_code_is_asked_for():
    text = page(["08_mdlm"], code=True)
    assert "### Exercise 8.2 · 10 min · difficulty 3/5 · The training loss" in text
    assert "  - known by: `gives(lambda seen: (seen.nll * seen.masked).mean())`" in text
    assert "known by" not in page(["08_mdlm"])
    assert bullet(Mistake("said", ""), code=True) == ["- said"]


def test_lessons_are_named_by_number_or_name():
    assert chosen(["8", "10_star"]) == ["08_mdlm", "10_star_and_gstar"] and chosen([]) == LESSONS


def test_refusals_are_one_sentence(capsys, monkeypatch):
    assert misconceptions.main(["77"]) == 1
    monkeypatch.setattr(misconceptions, "written", lambda: ["08_mdlm"])
    assert misconceptions.main(["09"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "No lesson begins with '77'; those with exercises are: " + ", ".join(LESSONS) + ".",
        "Lesson 09 has no exercises yet; those with exercises are: 08_mdlm.",
    ]
