"""The code corpus read from a small library made here and from the real one; the runner with code that misbehaves."""

import textwrap

import pytest
import torch

from difflm_core import data
from difflm_core.data import code_corpus
from difflm_core.data.code_corpus import (
    completed,
    functions,
    holes,
    infilling_rows,
    library_files,
    library_functions,
    parses,
    readable,
)
from difflm_core.evaluation.code import PROBLEMS, Outcome, code_report, run_code

SOURCE = textwrap.dedent('''
    import os

    def plain(a,
              b=1):  # said here
        return a + b

    def closed(
        a,
    ):
        # why
        return a

    def short(): return 1

    class Box:
        @property
        def size(self) -> int:
            """How large.

            Two lines.
            """
            # counted
            n = 0
            def inner():
                return 2

            return n

        def only_words(self):
            """Nothing else."""

    def later():
        ...

    async def wait(x):
        await x
''')


def test_functions_are_cut_into_head_and_body():
    found = {f.name: f for f in functions(SOURCE)}
    assert list(found) == ["plain", "closed", "wait", "size"]  # no one-liner, no inner function, none without a body
    assert (
        found["plain"].head == "def plain(a,\n          b=1):  # said here\n"
        and found["plain"].body == "    return a + b\n"
    )
    size = found["size"]
    assert size.head.startswith("@property\ndef size(self) -> int:\n") and size.head.endswith('lines.\n    """\n')
    assert size.body.startswith("    # counted\n    n = 0\n") and size.body.endswith("    return n\n")
    assert all(parses(f.text) for f in found.values()) and list(functions("def (")) == []
    assert list(functions("# a\fb\n" + SOURCE)) == list(functions(SOURCE))  # a form feed ends no line


@pytest.fixture
def library(tmp_path):
    (tmp_path / "test").mkdir()
    for name, text in {
        "good.py": SOURCE, "again.py": SOURCE, "other.py": "# Copyright someone\n" + SOURCE, "test_x.py": SOURCE,
        "test/in_tests.py": SOURCE, "broken.py": "def (", "fed.py": "# a\fb\n" + SOURCE,
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9\n")
    return tmp_path


def test_only_the_librarys_own_files_each_function_once(library):
    assert [path.stem for path in library_files(library)] == ["again", "broken", "fed", "good", "latin", "other"]
    assert readable(library / "other.py") is None and readable(library / "latin.py") is None
    rows = library_functions(10, 500, library)
    assert rows["name"][:] == ["plain", "closed", "wait", "size"] and set(rows["module"]) == {"again"}
    assert all(head + body == text for head, body, text in zip(rows["head"], rows["body"], rows["text"]))
    assert "PSF" in rows.info.license
    with pytest.raises(ValueError, match="no function of 9000"):
        library_functions(9000, 9001, library)
    with pytest.raises(ValueError, match="1 <= shortest <= longest"):
        library_functions(5, 4, library)


def test_found_once_and_then_kept(monkeypatch, tmp_path):
    found = [("m", code_corpus.Function("f", "def f():\n", "    return 1\n"))]
    monkeypatch.setattr(code_corpus, "_functions_of", lambda *a: found)
    monkeypatch.setenv("DIFFLM_CACHE", str(tmp_path))
    first = library_functions(5, 99)
    monkeypatch.setattr(code_corpus, "_functions_of", lambda *a: pytest.fail("looked for again"))
    assert library_functions(5, 99).to_dict() == first.to_dict() and first["text"][:] == ["def f():\n    return 1\n"]


def test_this_pythons_library_is_a_corpus():
    few = [
        path for path in library_files() if path.stem in ("textwrap", "heapq", "bisect", "statistics", "shlex", "cmd")
    ]
    found = [f for path in few if (text := readable(path)) for f in functions(text)]
    assert len(found) > 40 and all(parses(f.text) and f.body.strip() for f in found)
    assert not any("site-packages" in str(path) or "test" in path.stem for path in library_files())


def test_infilling_rows_mask_the_body_only(library):
    rows = library_functions(10, 500, library)
    tokenizer = data.bpe_tokenizer(rows["text"][:], 280)
    x, answer = infilling_rows(rows["head"][:], rows["body"][:], tokenizer, 400)
    for i in range(len(rows)):
        assert tokenizer.decode(x[i][~answer[i]].tolist()) == rows["head"][i]
        assert completed(tokenizer, x[i], 0) == rows["text"][i] and bool(answer[i, -1])
    with pytest.raises(ValueError, match="shorten it"):
        infilling_rows(rows["head"][:], rows["body"][:], tokenizer, 20)
    with pytest.raises(ValueError, match="no token that ends"):
        infilling_rows(["a"], ["b"], data.character_tokenizer("ab"), 9)


def test_holes_take_one_line():
    body, g = "    a = 1\n\n    return a\n", torch.Generator().manual_seed(0)
    cuts = {holes(body, g) for _ in range(20)}
    assert {line for _, line, _ in cuts} == {"    a = 1\n", "    return a\n"}
    assert all("".join(pieces) == body for pieces in cuts)
    with pytest.raises(ValueError, match="no line"):
        holes("\n\n")


# --- running ----------------------------------------------------------------------------------------------------------

SOLVED = [
    "    return n % 2 == 0\n", "    return max(numbers)\n", "    return min(max(x, low), high)\n",
    "    return sum(c in 'aeiou' for c in text)\n", "    return ' '.join(reversed(text.split()))\n",
    "    while b:\n        a, b = b, a % b\n    return a\n",
]  # fmt: skip


def test_the_problems_can_be_solved_and_failed():
    code, checks = [head + body for (head, _), body in zip(PROBLEMS, SOLVED)], [check for _, check in PROBLEMS]
    report = code_report(code, checks)
    assert (report.parse, report.run, report.right) == (1, 1, 1) and "100.0% are right" in str(report)
    wrong = [PROBLEMS[0][0] + "    return True\n", PROBLEMS[1][0] + "    return ((\n", "raise SystemExit(0)"]
    report = code_report(wrong, [PROBLEMS[0][1], PROBLEMS[1][1], ("1",)])
    assert (report.parse, report.run, report.right) == (2 / 3, 1 / 3, 0)


@pytest.mark.parametrize("code, error", [
    ("open('x', 'w')", "PermissionError: writing"), ("import os; os.system('true')", "PermissionError: os.system"),
    ("import os; os.remove('x')", "PermissionError: os.remove"), ("import socket; socket.socket()", "PermissionError"),
    ("import subprocess; subprocess.run(['true'])", "PermissionError"), ("x = 'a' * 10**10", "MemoryError"),
    ("1 / 0", "ZeroDivisionError"), ("import torch", "ModuleNotFoundError"),
])  # fmt: skip
def test_what_it_may_not_do(code, error):
    outcome = run_code(code, ["True"])
    assert outcome.parses and not outcome.ran and not outcome.right and outcome.error.startswith(error)


def test_code_that_does_not_end_is_ended():
    outcome = run_code("while True: pass", seconds=1)
    assert outcome.parses and not outcome.ran and ("process ended" in outcome.error or "in time" in outcome.error)


def test_what_it_prints_and_how_it_leaves_says_nothing():
    assert run_code("print('[true, [true], 1]')\nx = 1", ["x == 1"]) == Outcome(True, True, 1, 1)
    assert run_code("x = 1", ["y == 1", "x == 1"]) == Outcome(True, True, 1, 2, "NameError: name 'y' is not defined")
    assert run_code("def (", ["True"]) == Outcome(False, False, 0, 1, "SyntaxError")


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least 1 second"):
        run_code("1", seconds=0)
    with pytest.raises(ValueError, match="list of checks"):
        code_report([], [])
