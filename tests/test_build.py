"""From one text source to two notebooks: solutions, ids, hashes, tidy outputs, failures that name their line."""

import json
import textwrap

import nbformat
import pytest

from difflm_core.classroom import build as builder
from difflm_core.classroom.build import BuildError, build, out_of_step, targets
from difflm_core.classroom.notebooks import SourceError, parse, without_solution
from difflm_core.classroom.outputs import WIDGET_STATE, WIDGET_VIEW, last_states, tidy

LESSON = '''\
# %% [markdown]
# # 99 · A lesson
# **Minutes** 1 · **Prerequisites** none

# %%
def double(x):
    """Exercise 9.1: twice x."""
    ### BEGIN SOLUTION
    y = 2 * x
    return y
    ### END SOLUTION

# %% [markdown] tags=["solution"]
# Because two.

# %%
try:
    print("double:", double(2))
except NotImplementedError as error:
    print(error)

# %%
# NBVAL_CHECK_OUTPUT
print("end")
'''


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "lessons" / "source" / "99_lesson.py"
    path.parent.mkdir(parents=True)
    path.write_text(LESSON, encoding="utf-8")
    return path


def read(source):
    return {kind: nbformat.read(path, 4) for kind, path in targets(source).items()}


def test_the_student_gets_a_stub_and_no_explanation():
    pair = parse("99_lesson", LESSON)
    assert 'x."""\n    raise NotImplementedError("Exercise 9.1")' in pair.student.cells[1].source
    assert "SOLUTION" not in json.dumps(pair.student) and "2 * x" not in json.dumps(pair.student)
    assert "y = 2 * x" in pair.solved.cells[1].source
    assert [c.source for c in pair.solved.cells if c.get("metadata").get("tags")] == ["Because two."]
    assert len(pair.student.cells) == len(pair.solved.cells) - 1


def test_two_exercises_in_one_cell_get_their_own_numbers():
    code = "\n".join(f"def f{i}():\n    # Exercise 9.{i}\n    ### BEGIN SOLUTION\n    ### END SOLUTION" for i in (1, 2))
    stripped = without_solution(code, "here")
    assert stripped.index('("Exercise 9.1")') < stripped.index("f2") < stripped.index('("Exercise 9.2")')


@pytest.mark.parametrize(
    "code, problem",
    [
        ("def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION", "name its exercise"),
        ("# Exercise 9.1\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION", "inside a function"),
        ("def f():\n    # Exercise 9.1\n    ### BEGIN SOLUTION\n    return 1", "without '### END"),
        ("def f():\n    # Exercise 9.1\n    ### END SOLUTION", "without '### BEGIN"),
        ("# Exercise 9.1\nif x:\n    f(\n    ### BEGIN SOLUTION\n    )\n    ### END SOLUTION", "not valid Python"),
    ],
)
def test_misplaced_markers_are_refused(code, problem):
    with pytest.raises(SourceError, match=f"09_x line 5.*{problem}"):
        without_solution(code, "09_x line 5")


def test_text_before_the_first_cell_is_refused():
    with pytest.raises(SourceError, match="start with '# %%'"):
        parse("99_lesson", "import torch\n\n" + LESSON)


def test_ids_are_unique_stable_and_shared_by_both_notebooks():
    twice = LESSON + '\n# %%\n# NBVAL_CHECK_OUTPUT\nprint("end")\n'
    pair = parse("99_lesson", twice)
    ids = [cell.id for cell in pair.solved.cells]
    assert len(set(ids)) == len(ids)
    assert ids[:-1] == [cell.id for cell in parse("99_lesson", LESSON).solved.cells]
    assert {cell.id for cell in pair.student.cells} < set(ids)
    assert twice.splitlines()[pair.lines[ids[1]] - 1] == "def double(x):"


@pytest.mark.slow
def test_build_executes_both_and_check_sees_what_is_out_of_step(source, monkeypatch):
    monkeypatch.delenv("DIFFLM_FAST", raising=False)
    monkeypatch.setenv("DIFFLM_STRICT", "1")
    assert [problem.split(": ")[1] for problem in out_of_step(source)] == ["the notebook is missing."] * 2
    build(source)
    notebooks = read(source)
    assert notebooks["student"].cells[2].outputs[0].text == "Exercise 9.1\n"
    assert notebooks["solved"].cells[3].outputs[0].text == "double: 4\n"
    for kind, nb in notebooks.items():
        assert set(nb.metadata) == {"difflm", "kernelspec", "language_info"}
        assert nb.metadata.difflm.mode == "full" and nb.metadata.difflm.kind == kind
        assert all(cell.execution_count for cell in nb.cells if cell.cell_type == "code")
        assert not any("execution" in cell.metadata for cell in nb.cells)
    assert out_of_step(source) == []
    before = targets(source)["solved"].read_bytes()
    build(source)
    assert targets(source)["solved"].read_bytes() == before
    source.write_text(LESSON + "\n# %%\n1 / 0\n", encoding="utf-8")
    assert all("the source has changed" in problem for problem in out_of_step(source))
    with pytest.raises(BuildError) as failure:
        build(source)
    line = source.read_text().splitlines().index("1 / 0") + 1
    assert f"99_lesson (student) failed at 99_lesson.py, line {line}:" in str(failure.value)
    assert "ZeroDivisionError" in str(failure.value)
    assert targets(source)["solved"].read_bytes() == before
    assert not list(source.parents[1].rglob("*.part"))


@pytest.mark.slow
def test_strict_is_set_for_the_solved_notebook_only(source, monkeypatch):
    monkeypatch.setenv("DIFFLM_STRICT", "1")
    monkeypatch.setenv("DIFFLM_FAST", "1")
    source.write_text('# %%\nimport os\nprint(os.environ.get("DIFFLM_STRICT"))\n', encoding="utf-8")
    build(source)
    said = {kind: nb.cells[0].outputs[0].text for kind, nb in read(source).items()}
    assert said == {"student": "None\n", "solved": "1\n"}
    assert all("the notebook is fast" in problem for problem in out_of_step(source))


def test_not_executing_writes_notebooks_without_outputs(source):
    build(source, execute=False)
    assert all(not cell.get("outputs") for nb in read(source).values() for cell in nb.cells)
    assert all("not executed" in problem for problem in out_of_step(source))


def test_too_large_a_notebook_is_refused_and_nothing_is_written(source, monkeypatch):
    monkeypatch.setattr(builder, "LARGEST_NOTEBOOK", 100)
    with pytest.raises(BuildError, match="more than 100"):
        build(source, execute=False)
    assert not any(path.exists() for path in targets(source).values())


def bar_state():
    model = {"box": {"children": ["IPY_MODEL_a", "IPY_MODEL_b", "IPY_MODEL_c"]}, "a": {"value": "training: 100%"},
             "b": {"value": 9}, "c": {"value": " 9/9 [00:03&lt;00:00,\u20079.1it/s,\u2007bound 2]"}}  # fmt: skip
    names = {"box": "HBoxModel", "a": "HTMLModel", "b": "FloatProgressModel", "c": "HTMLModel"}
    return {key: {"model_name": names[key], "state": model[key]} for key in names}


def test_outputs_are_tidied():
    def stream(name, text):
        return nbformat.v4.new_output("stream", name=name, text=text)

    def view(model):
        return nbformat.v4.new_output("display_data", data={WIDGET_VIEW: {"model_id": model}, "text/plain": "  0%|"})

    outputs = [
        stream("stdout", "a"),
        stream("stdout", "b\n"),
        view("box"),
        view("other"),
        stream("stderr", "1%\r99%\r\n"),
    ]
    cell = nbformat.v4.new_code_cell("x", outputs=outputs, metadata={"execution": {"iopub.status.busy": "now"}})
    nb = parse("99_lesson", LESSON).solved
    nb.cells = [cell]
    nb.metadata |= {"widgets": {WIDGET_STATE: {"state": bar_state()}}, "papermill": 1}
    tidy(nb)
    texts = [(output.name, output.text) for output in nb.cells[0].outputs]
    assert texts == [("stdout", "ab\ntraining: 100% 9/9 [00:03, bound 2]\n"), ("stderr", "99%\n")]
    assert "widgets" not in nb.metadata and "papermill" not in nb.metadata and not nb.cells[0].metadata


@pytest.mark.parametrize(
    "text, last", [("1%\r50%\r99%", "99%"), ("1%\r99%\r\nok\n", "99%\nok\n"), ("plain\n", "plain\n")]
)
def test_a_line_written_over_keeps_its_last_state(text, last):
    assert last_states(text) == last


def test_command_names_unknown_lessons(monkeypatch, capsys, source):
    monkeypatch.chdir(source.parents[1])
    monkeypatch.setattr("sys.argv", ["build", "42"])
    assert builder.main() == 1
    assert capsys.readouterr().err == "no lesson begins with '42'; there are: 99_lesson.\n"
    monkeypatch.setattr("sys.argv", ["build", "99", "--check"])
    assert builder.main() == 1
    assert textwrap.shorten(capsys.readouterr().out, 200).count("missing") == 2


def test_prose_is_renewed_without_a_run(source, monkeypatch):
    build(source, execute=False)
    for path in targets(source).values():
        nb = nbformat.read(path, 4)
        nb.cells[1].execution_count = 7
        nbformat.write(nb, path)
    source.write_text(LESSON.replace("# # 99 · A lesson", "# # 99 · A better lesson"), encoding="utf-8")
    assert out_of_step(source)
    builder.renew_prose(source)
    for kind, nb in read(source).items():
        assert "better" in nb.cells[0].source and nb.cells[1].execution_count == 7
        assert nb.metadata.difflm.hash == builder.source_hash(source.read_text(encoding="utf-8")), kind


def test_prose_is_refused_where_code_changed_and_the_line_is_named(source):
    build(source, execute=False)
    before = {kind: path.read_bytes() for kind, path in targets(source).items()}
    source.write_text(LESSON.replace('print("end")', 'print("END")').replace("A lesson", "B"), encoding="utf-8")
    with pytest.raises(BuildError, match="line 23"):
        builder.renew_prose(source)
    source.write_text(LESSON + "\n# %%\n1 + 1\n", encoding="utf-8")
    with pytest.raises(BuildError, match="their number"):
        builder.renew_prose(source)
    assert before == {kind: path.read_bytes() for kind, path in targets(source).items()}
