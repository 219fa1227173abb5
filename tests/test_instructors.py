"""The instructors' schedules against the lessons: minutes as the lessons state them, sums as the table says."""

import re
from pathlib import Path

import pytest

from difflm_core.classroom.course_map import course_map

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
ENTRIES = {entry.name[:2]: entry for entry in course_map(ROOT / "lessons")}
WEEKS = re.findall(r"^\| (\d+) \| (\d\d) [^|]*\| (\d+) \+ (\d+) \|[^|]*\|([^|]*)\|([^|]*)\|$", TEXT, re.M)
CLOCK = re.compile(r"^\| \*?(\d+):(\d+) to (\d+):(\d+)\*? \|(.*)\|$", re.M)


def minutes(lesson: str) -> dict[str, int]:
    """Exercise -> the minutes that its heading states."""
    source = (ROOT / "lessons" / "source" / f"{ENTRIES[lesson].name}.py").read_text(encoding="utf-8")
    return {number: int(found) for number, found in re.findall(r"### Exercise (\d+\.\d+) · (\d+) min", source)}


@pytest.mark.parametrize(
    "week, lesson, reading, computing, in_class, at_home", WEEKS, ids=lambda cell: cell[:12].strip()
)
def test_a_week_has_the_minutes_and_all_exercises_of_its_lesson(week, lesson, reading, computing, in_class, at_home):
    entry = ENTRIES[lesson]
    if not entry.here:
        pytest.skip(f"lesson {lesson} is not built")
    assert (entry.reading, entry.computing) == (int(reading), int(computing))
    stated = re.findall(r"(\d+\.\d+)[a-z ]* \((\d+)\)", in_class + at_home)
    assert {number: int(found) for number, found in stated} == minutes(lesson) and len(stated) == len(minutes(lesson))


def test_every_week_has_a_lesson():
    assert [int(week[0]) for week in WEEKS] == list(range(1, 14))


def slots():
    """(minutes of the slot, the other cells) for each line of the two days with a lesson."""
    for h, m, hh, mm, rest in CLOCK.findall(TEXT):
        yield 60 * (int(hh) - int(h)) + int(mm) - int(m), [cell.strip() for cell in rest.split("|")]


@pytest.mark.parametrize("length, cells", [s for s in slots() if " of " in s[1][-1]], ids=lambda cell: str(cell)[:20])
def test_a_slot_holds_what_is_in_it(length, cells):
    what, read, compute, exercises, total = cells
    used, slot = map(int, total.split(" of "))
    asked, given = exercises.split(": ")
    numbers = re.findall(r"\d+\.\d+", asked)
    assert slot == length % 720 and used <= slot
    assert used == sum(int(cell) for cell in (read, compute, given) if cell)
    assert int(given) == sum(minutes(f"{int(n.split('.')[0]):02d}")[n] for n in numbers)
    if read:
        entry = ENTRIES[what[:2]]
        assert int(read) <= (entry.reading or int(read)) and int(compute) == (entry.computing or int(compute))


def test_the_days_have_no_gap_and_the_hours_that_the_text_says():
    lines = [tuple(map(int, found[:4])) for found in CLOCK.findall(TEXT)]
    days = [lines[: lines.index((9, 0, 10, 15))], lines[lines.index((9, 0, 10, 15)) :]]
    assert all(a[2:] == b[:2] for day in days for a, b in zip(day, day[1:]))
    pauses = [rest for *_, rest in CLOCK.findall(TEXT) if "*break*" in rest or "*lunch*" in rest]
    assert len(pauses) == 6
    taught = [sum(60 * (b[2] - b[0]) + b[3] - b[1] for b in day) - 15 - 15 - 60 for day in days]
    assert taught == [375, 360]
    assert "Six hours and a quarter on the first day, six on the second" in " ".join(TEXT.split())
