"""Lessons as nbgrader assignments: the student's cells, locked checks with points, hidden tests failing at the end."""

import re
from types import SimpleNamespace

import pytest

from difflm_core.classroom import assignments
from difflm_core.classroom.assignments import assignment
from difflm_core.classroom.checks import NOT_ATTEMPTED, Check
from difflm_core.classroom.lesson import lessons_folder
from difflm_core.classroom.notebooks import BEGIN

SOURCES = sorted((lessons_folder() / "source").glob("[0-9][0-9]_*.py"))
LESSON = '''\
# %% [markdown]
# # 99 · A lesson

# %% [markdown]
# ### Exercise 99.1 · 1 min · difficulty 3/5 · Twice

# %%
from difflm_core.classroom.checks import Check

def right(f):
    assert f(2) == 4, "Twice 2 is 4."

ex99_1 = Check("99.1", test=right, reference=lambda x: 2 * x)

# %%
def double(x):
    """Exercise 99.1: twice x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


ex99_1.run(double)
double = ex99_1.answer_or_reference(double)
after = double(3)

# %% [markdown] tags=["solution"]
# Because two.
'''


def nbgraders(nb):
    return {c.metadata.nbgrader.grade_id: c for c in nb.cells if "nbgrader" in c.metadata}


def test_answer_and_check_become_two_cells_with_points():
    nb = assignment("99_lesson", LESSON)
    cells = nbgraders(nb)
    assert list(cells) == ["answer_99_1", "check_99_1"] and "Because" not in str(nb)
    answer, check = (cells[name].metadata.nbgrader for name in cells)
    assert answer.solution and not answer.grade and not answer.locked and "points" not in answer
    assert check.grade and check.locked and not check.solution and check.points == 3
    assert BEGIN in cells["answer_99_1"].source and ".run(" not in cells["answer_99_1"].source


@pytest.mark.parametrize("answer, fails", [("2 * x", False), ("3 * x", True)])
def test_a_wrong_answer_fails_its_cell_after_all_else_has_run(answer, fails, capsys):
    codes = [c.source for c in assignment("99_lesson", LESSON).cells if c.cell_type == "code"]
    names = {}
    for code in codes[:-1]:
        exec(code.replace("2 * x\n    ###", f"{answer}\n    ###"), names)
    if fails:
        with pytest.raises(AssertionError, match="Twice 2 is 4"):
            exec(codes[-1], names)
    else:
        exec(codes[-1], names)
    assert names["after"] == 6  # what follows the check has run, with the course's answer if need be


def test_the_stub_that_nbgrader_leaves_counts_as_not_attempted():
    """As the written configuration says it, not nbgrader's own, which the check would take for a crash."""
    settings = SimpleNamespace(
        CourseDirectory=SimpleNamespace(), ClearSolutions=SimpleNamespace(), ExecutePreprocessor=SimpleNamespace()
    )
    exec(assignments.CONFIG, {"get_config": lambda: settings})
    names = {}
    exec(f"def double(x):\n    {settings.ClearSolutions.code_stub['python']}", names)
    assert Check("99.1", test=lambda double: double(2)).judge(names["double"]).status == NOT_ATTEMPTED


def test_students_do_not_see_the_hidden_tests():
    hidden = re.compile(r"### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS\n?", re.S)  # as nbgrader takes them out
    check = nbgraders(assignment("99_lesson", LESSON))["check_99_1"].source
    assert hidden.sub("", check).strip().split("\n") == [
        "ex99_1.run(double)", "double = ex99_1.answer_or_reference(double)", "after = double(3)"
    ]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_every_lesson_has_an_answer_and_a_check_for_each_exercise(source):
    text = source.read_text(encoding="utf-8")
    numbers = re.findall(r"^# ### Exercise \d+\.(\d+)", text, re.M)
    cells = nbgraders(assignment(source.stem, text))
    for kind in ("answer", "check"):
        found = sorted(int(name.split("_")[2]) for name in cells if name.startswith(kind))
        assert found == sorted(map(int, numbers)), kind
    assert all(1 <= c.metadata.nbgrader.points <= 5 for c in cells.values() if c.metadata.nbgrader.grade)


def test_the_command_writes_where_nbgrader_looks_and_refuses_in_a_sentence(tmp_path, capsys):
    assert assignments.main(["08", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "source" / "08_mdlm" / "08_mdlm.ipynb").is_file()
    config = tmp_path / "nbgrader_config.py"
    assert "code_stub" in config.read_text()
    config.write_text("mine")
    assert assignments.main(["08", "--out", str(tmp_path)]) == 0 and config.read_text() == "mine"
    assert assignments.main(["77", "--out", str(tmp_path)]) == 1
    (tmp_path / "file").write_text("")
    assert assignments.main(["08", "--out", str(tmp_path / "file")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and said[0].startswith("no lesson begins with '77'") and said[1].startswith("Cannot write")
