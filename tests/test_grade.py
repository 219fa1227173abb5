"""Grading of handed-in notebooks: what is taken from a notebook, what stops a kernel, what the instructor gets."""

import csv
import json
import os
from copy import deepcopy
from functools import cache
from pathlib import Path

import nbformat
import psutil
import pytest

from difflm_core.classroom import grade
from difflm_core.classroom.checks import CORRECT, CRASHED, NOT_ATTEMPTED, WRONG
from difflm_core.classroom.grading import marks
from difflm_core.classroom.grading.answers import Missing, Unchanged, answer, read_notebook
from difflm_core.classroom.grading.course import preparation, read_lesson
from difflm_core.classroom.grading.inside import OUT_OF_MEMORY, SHOWN, Capped
from difflm_core.classroom.grading.kernel import Kernel, Limits, TimeUp, environment
from difflm_core.classroom.grading.marks import MISSING, TIMED_OUT, TOO_MUCH_OUTPUT, Mark, grade_notebook
from difflm_core.classroom.grading.records import Record, as_csv, feedback, load, nothing_handed_in, table, write_tables
from difflm_core.classroom.grading.statements import needed, plain_python, statements
from difflm_core.classroom.grading.submissions import GradingError, find
from difflm_core.classroom.notebooks import parse

SOURCES = {path.stem: path for path in sorted((Path(__file__).parents[1] / "lessons" / "source").glob("*.py"))}
MDLM = "08_mdlm"
NAMES = list(SOURCES)


@pytest.fixture(scope="module")
def lesson():
    return read_lesson(SOURCES[MDLM])


@cache
def pair(name):
    return parse(name, SOURCES[name].read_text(encoding="utf-8"))


def notebook(kind="student", name=MDLM):
    return deepcopy(getattr(pair(name), kind))


def filled(**bodies):
    """The student notebook with these bodies: filled(ex8_1="return 1 / t")."""
    nb = notebook()
    for check, body in bodies.items():
        line = f'raise NotImplementedError("Exercise {check.removeprefix("ex").replace("_", ".")}")'
        cell = next(cell for cell in nb.cells if cell.cell_type == "code" and line in cell.source)
        cell.source = cell.source.replace(line, body)
    return nb


def code(source):
    return nbformat.v4.new_code_cell(source)


def without(nb, text):
    nb.cells = [cell for cell in nb.cells if text not in cell.source]
    return nb


def exercise(lesson, number):
    return next(e for e in lesson.exercises if e.number == number)


def taken(nb, lesson, number):
    """The code of the answer, as it would run."""
    found = answer(read_notebook(nb), exercise(lesson, number), lesson)
    return "\n".join(statements(cell.source)[i].text for cell in found.cells for i in cell.keep), found


# which statements are needed


@pytest.mark.parametrize(
    "program, names, kept",
    [
        ("a = 1\nb = 2\nc = a", "c", [0, 2]),
        ("a = 1\na = 2\nc = a", "c", [1, 2]),  # the first value is replaced
        ("a = 1\na += 2\nc = a", "c", [0, 1, 2]),
        ("a = 1\nif b:\n    a = 2", "a", [0, 1]),  # perhaps it is not
        ("def f():\n    return k\nk = 1\nc = f()\nk = 2", "c", [0, 1, 2]),  # the body reads k when it is called
        ("def f(k):\n    return k\nk = 1\nc = f", "c", [0, 2]),  # its own k
        ("m = make()\nm.eval()\nm.n = 3\nprint(m)\nc = m", "c", [0, 1, 2, 4]),
        ("m = make()\nlosses = train_it(m, 3)\nlook(m)", "m", [0, 1]),
        ("m = make()\nfor x in data:\n    train_step(m, x)", "m", [0, 1]),
        ("t = {}\nfor i in range(3):\n    t[i] = i\nprint(t)", "t", [0, 1]),
        ("from a import b as c\nimport d.e\nx = c + d.e.f", "x", [0, 1, 2]),
    ],
)
def test_only_what_a_name_depends_on_is_kept(program, names, kept):
    assert [s.index for s in needed(statements(program), {names})] == kept


def test_ipython_syntax_becomes_python_at_the_same_lines():
    plain = plain_python("%%time\n\nx = 1\n!ls\n")
    assert [s.bound for s in statements(plain)] == [{"x"}, set()] and plain.split("\n")[2] == "x = 1"


# the lesson


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_of_every_lesson_is_found(name):
    text = SOURCES[name].read_text(encoding="utf-8")
    found = read_lesson(SOURCES[name]).exercises
    assert len(found) >= 3 and all(f"### Exercise {e.number} ·" in text for e in found)
    assert len(found) == text.count("### Exercise ")


def test_a_check_is_prepared_without_the_rest_of_the_lesson(lesson):
    assert "train(" not in preparation(exercise(lesson, "8.5"), {"torch"})  # fast mode judges the stored model
    full = exercise(read_lesson(SOURCES[MDLM], full=True), "8.5")
    assert "run = train(recipe)" in preparation(full, set())
    # an answer that builds on an earlier exercise gets the course's answer to that
    assert "weight = ex8_1.reference" in preparation(exercise(lesson, "8.5"), {"weight"})


# what is taken from a notebook


def test_the_course_s_stub_is_not_an_attempt_and_a_deleted_cell_is_missing(lesson):
    with pytest.raises(Unchanged):
        taken(notebook(), lesson, "8.2")
    with pytest.raises(Missing):
        taken(without(notebook(), "def training_loss"), lesson, "8.2")
    with pytest.raises(Missing):
        taken(nbformat.v4.new_notebook(), lesson, "8.2")


def test_the_last_version_counts_wherever_it_stands(lesson):
    nb = filled(ex8_1="return 1")
    nb.cells.insert(0, code("def weight(schedule, t):\n    return 0"))
    assert taken(nb, lesson, "8.1")[0].endswith("return 1")
    nb.cells.append(code("weight = lambda schedule, t: 2"))
    assert taken(nb, lesson, "8.1")[0] == "weight = lambda schedule, t: 2"
    nb.cells.append(notebook().cells[-1])
    assert taken(nb, lesson, "8.1")[0] == "weight = lambda schedule, t: 2"


def test_helpers_come_along_and_nothing_else(lesson):
    nb = filled(ex8_1="return scale * mine(schedule, t)")
    nb.cells.insert(3, code("%%time\nimport numpy as np\nscale = 1.0\nprint('long training')\nlanguage = None"))
    nb.cells.append(code("def mine(schedule, t):\n    return np.abs(schedule.dalpha(t)) / language.size"))
    text, found = taken(nb, lesson, "8.1")
    assert "def mine" in text and "import numpy" in text and "scale = 1.0" in text
    assert "long training" not in text
    assert "language = None" not in text and "language" in found.names  # the course's value counts


def test_lines_that_speak_to_a_check_are_dropped_and_an_answer_that_does_is_noted(lesson):
    nb = filled(ex8_2="return ex8_2.reference(model, x, mask_id, generator)")
    nb.cells.append(code("training_loss = ex8_2.reference\nex8_2.test = lambda f: None\nex8_2 = None"))
    text, found = taken(nb, lesson, "8.2")
    assert "ex8_2.test" not in text and text.startswith("def training_loss")
    assert found.peeks == (".reference", "ex8_2")


def test_a_cell_that_is_not_python_is_named(lesson):
    nb = filled(ex8_4="return t *")
    with pytest.raises(SyntaxError, match=r"code cell \d+, line 3 is not valid Python"):
        taken(nb, lesson, "8.4")
    nb.cells.append(code("def next_time(t, n, u):\n    return t"))
    assert "return t" in taken(nb, lesson, "8.4")[0]


# who handed in what


def hand_in(nb, *where):
    path = Path(*where)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, path)
    return path


def test_lessons_and_students_are_recognised(tmp_path):
    nb, plain = notebook(), notebook()
    plain.metadata = {}
    hand_in(nb, tmp_path, "Ada L", "deep", "anything.ipynb")  # by its metadata
    hand_in(plain, tmp_path, "bob_08_mdlm (2).ipynb")
    hand_in(plain, tmp_path, "eve-08.ipynb")
    hand_in(plain, tmp_path, "zoe", "homework.ipynb")
    hand_in(nb, tmp_path, "Ada L", ".ipynb_checkpoints", "x-checkpoint.ipynb")
    (tmp_path / "max.ipynb").write_text("no JSON")
    (tmp_path / "mia.ipynb").write_text('{"a": 1}')
    found = find(tmp_path, NAMES, NAMES)
    assert [(s.student, s.lesson) for s in found.submissions] == [("Ada L", MDLM), ("bob", MDLM), ("eve", MDLM)]
    assert {"max", "mia"} < set(found.students)
    assert any(line.startswith("max.ipynb: is not a notebook") for line in found.left_out)
    assert any(line.startswith("mia.ipynb: is not a notebook") for line in found.left_out)
    assert any("homework.ipynb: is none of this course's lessons" in line for line in found.left_out)
    assert "is lesson 08_mdlm, which was not asked for" in find(tmp_path, NAMES, ["10_star_and_gstar"]).left_out[0]


def test_of_two_notebooks_the_newer_is_graded(tmp_path):
    old, new = hand_in(notebook(), tmp_path, "ada", "b.ipynb"), hand_in(notebook(), tmp_path, "ada", "a.ipynb")
    os.utime(old, (1, 1))
    found = find(tmp_path, NAMES, NAMES)
    assert found.submissions[0].path == new and "ada has a newer one, a.ipynb" in found.left_out[0]


def told(capsys, *arguments):
    try:
        status = grade.main([str(word) for word in arguments])
    except SystemExit as end:
        status = end.code
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_what_goes_wrong_is_one_sentence(tmp_path, capsys):
    assert told(capsys, tmp_path / "none") == (1, "", f"There is no folder {tmp_path / 'none'}.\n")
    status, _, error = told(capsys, tmp_path)
    assert status == 1 and "There is no notebook (*.ipynb) in" in error
    hand_in(notebook(), tmp_path, "ada", "x.ipynb")
    for arguments, said in {
        ("--lesson", "77"): "No lesson begins with '77'; there are: 00_start_here",
        ("--lesson", "10"): "is lesson 08_mdlm, which was not asked for.",
        ("--out", tmp_path / "ada"): "--out must lie outside FOLDER",
    }.items():
        status, _, error = told(capsys, tmp_path, *arguments)
        assert status == 1 and said in error and error.count("\n") == 1
    status, _, error = told(capsys, tmp_path, "--seconds", "0")
    assert status == 2 and "must be a number above 0" in error


def test_help_says_that_it_is_no_sandbox(capsys):
    status, out, _ = told(capsys, "--help")
    assert status == 0 and "NO SECURITY SANDBOX" in out and "docs/grading.md" in out


# tables


def record(student, *statuses, message="Exercise: text"):
    return Record(student, MDLM, "f", "", "k", tuple(Mark(f"8.{i + 1}", s, message) for i, s in enumerate(statuses)))


def test_tables(tmp_path, lesson):
    everything = [record("ada", CORRECT, WRONG, message="=1+1\n```x"), record("=bob", TIMED_OUT, NOT_ATTEMPTED)]
    write_tables(everything, tmp_path)
    assert (tmp_path / "grades.csv").read_text().splitlines() == [
        "student,8.1,8.2,correct,of",
        "ada,correct,wrong,1,2",
        "'=bob,timed out,not attempted,0,2",
    ]
    rows = list(csv.DictReader((tmp_path / "exercises.csv").open(newline="")))
    assert len(rows) == 4 and rows[0]["message"] == "'=1+1\n```x"
    assert json.loads((tmp_path / "grades.json").read_text())[0]["marks"][1]["status"] == WRONG
    assert "    ```x" in (tmp_path / "feedback" / "ada.md").read_text()  # whatever it says, it stays in its block
    assert not list(tmp_path.rglob("*.part"))
    shown = table(everything).splitlines()
    assert shown[1].split() == ["ada", "✓", "✗", "1", "of", "2"] and "T timed out" in shown[-1]
    assert {m.status for m in nothing_handed_in("zoe", lesson).marks} == {MISSING}


def test_eight_point_ten_comes_after_eight_point_nine():
    many = Record("a", MDLM, "", "", "", tuple(Mark(f"8.{i}", CORRECT, "") for i in (10, 9)))
    assert table([many]).splitlines()[0].split() == ["student", "8.9", "8.10", "correct"]
    assert as_csv([[-1, "-1"]]) == "-1,'-1\r\n" and feedback("a", [many]).startswith("# a\n\n2 of 2")


def test_a_damaged_record_counts_as_none(tmp_path):
    (tmp_path / "r.json").write_text('{"student": "ada"}')
    assert load(tmp_path / "r.json") is None and load(tmp_path / "none.json") is None


def test_prints_are_cut_off():
    heard = Capped()
    for _ in range(5):
        print("x" * SHOWN, file=heard)
    assert heard.shown() == f"{'x' * SHOWN}\n... ({5 * (SHOWN + 1):,} characters in all)"


def test_secrets_of_the_environment_stay_outside(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "secret")
    monkeypatch.setenv("DIFFLM_STRICT", "1")
    passed = environment(tmp_path, full=False)
    assert "MY_TOKEN" not in passed and "DIFFLM_STRICT" not in passed and passed["DIFFLM_FAST"] == "1"


# with a kernel


def statuses(nb, lesson, **limits):
    return {mark.exercise: mark for mark in grade_notebook(nb, lesson, Limits(**limits))}


@pytest.mark.slow
def test_a_class(tmp_path, capsys, monkeypatch):
    """Right answers, named mistakes, crashes, deleted and overwritten checks; then nothing is graded twice."""
    folder = tmp_path / "class"
    hand_in(notebook("solved"), folder, "ada", "08_mdlm.ipynb")
    nb = filled(ex8_1="return 1 / t", ex8_3="return z / None", ex8_4="exit()")
    nb = without(without(nb, "def training_loss"), "ex8_1.run")
    lie = "from difflm_core.classroom import checks\nchecks.Check.judge = None\nex8_1 = None\ntorch = None"
    nb.cells = [code(lie), *nb.cells, code("while True:\n    pass")]  # not the answer to anything
    hand_in(nb, folder, "bob_08.ipynb")
    (folder / "eve.ipynb").write_text("?")

    status, out, error = told(capsys, folder)
    assert status == 1 and not error  # eve's file is no notebook
    marks_of = {r["student"]: r["marks"] for r in json.loads((tmp_path / "class-graded" / "grades.json").read_text())}
    assert [m["status"] for m in marks_of["ada"]] == [CORRECT] * 5
    assert [m["status"] for m in marks_of["bob"]] == [WRONG, MISSING, CRASHED, CRASHED, NOT_ATTEMPTED]
    assert [m["status"] for m in marks_of["eve"]] == [MISSING] * 5
    assert "1/t is right for the linear schedule only" in marks_of["bob"][0]["message"]
    assert "in line 3 of its cell: return z / None" in marks_of["bob"][2]["message"]
    assert "ada, lesson 08_mdlm: this is the course's solved notebook" in out
    assert "eve.ipynb: is not a notebook" in out and "5 of 5" in out and "0 of 5" in out

    monkeypatch.setattr(marks, "Session", None)  # a second run must not need a kernel
    (folder / "eve.ipynb").unlink()
    assert told(capsys, folder)[0] == 0
    monkeypatch.undo()
    with pytest.raises(TypeError, match="NoneType"):
        monkeypatch.setattr(marks, "Session", None)
        told(capsys, folder, "--again")


@pytest.mark.slow
def test_each_kind_of_accident_ends_one_exercise_only(lesson):
    nb = filled(
        ex8_1="while True: print('x' * 1000)",
        ex8_2="import os; os._exit(3)",
        ex8_3="from IPython.display import display\n    while True: display({'text/plain': 'y' * 10**6}, raw=True)",
        ex8_4="return torch.zeros(10**12)",
        ex8_5=next(c.source.split("SOLUTION\n", 1)[1].split("    ### END")[0].strip() for c in notebook("solved").cells
                   if "def my_sampler" in c.source),
    )  # fmt: skip
    found = statuses(nb, lesson, seconds=20, memory=3)
    assert [mark.status for mark in found.values()] == [TIMED_OUT, CRASHED, TOO_MUCH_OUTPUT, OUT_OF_MEMORY, CORRECT]
    assert "20 seconds" in found["8.1"].message and "exit status 3" in found["8.2"].message


@pytest.mark.slow
def test_the_notebook_has_a_limit_too(lesson):
    found = statuses(filled(ex8_1="while True: pass", ex8_4="return t"), lesson, seconds=60, notebook_seconds=1)
    assert found["8.1"].status == found["8.4"].status == TIMED_OUT and found["8.2"].status == NOT_ATTEMPTED
    assert "1 seconds for a notebook were used up" in found["8.4"].message


@pytest.mark.slow
def test_a_stopped_kernel_takes_its_children_with_it(tmp_path):
    kernel = Kernel(tmp_path, Limits())
    lines = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    with pytest.raises(TimeUp):
        kernel.ask("prepare", 5.0, code=f"{lines}\nwhile True: pass")
    family = kernel.family()
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    mine = [p for p in psutil.process_iter(["cmdline"]) if "import time; time.sleep(600)" in (p.info["cmdline"] or [])]
    assert not [p for p in mine if p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_course_s_own_answers_are_graded_right(name):
    found = statuses(notebook("solved", name), read_lesson(SOURCES[name]), seconds=300)
    assert {number: m.message for number, m in found.items() if m.status != CORRECT} == {}


def test_an_unknown_lesson_name_is_told():
    with pytest.raises(GradingError, match="no lesson begins with 'x'"):
        grade.chosen(NAMES, ["x"])
