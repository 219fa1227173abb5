"""The set-up: what goes wrong in class ends in one sentence, and a half-made .venv is never taken for a whole one."""

import ast
import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = (ROOT / "setup_env.py").read_text()


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """The script as a module, in a folder of its own with small requirements; pip and venv are recorded, not run."""
    (tmp_path / "setup_env.py").write_text(SCRIPT)
    (tmp_path / "requirements.txt").write_text("difflm-no-such-package==1.0\n")
    (tmp_path / "pyproject.toml").write_text("")
    spec = importlib.util.spec_from_file_location("setup_env_copy", tmp_path / "setup_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.done = []
    module.real_pip_install = module.pip_install
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setattr(module, "pip_install", lambda *what: module.done.append("pip"))
    monkeypatch.setattr(module, "check_space", lambda: None)
    monkeypatch.setattr(module, "subprocess", fake_subprocess(module))
    return module


def fake_subprocess(module):
    """A venv of one empty file, whose Python "runs" once that file is there."""

    def make_venv(command):
        module.done.append("venv")
        Path(module.VENV_PYTHON).parent.mkdir(parents=True, exist_ok=True)
        Path(module.VENV_PYTHON).touch()

    def answer(command, **_):
        if not Path(command[0]).exists():
            raise OSError(errno.ENOENT, "no such file")
        return b"2.13.0" if "torch" in command[-1] else b"%d.%d" % sys.version_info[:2]

    return SimpleNamespace(
        check_call=make_venv, check_output=answer, Popen=subprocess.Popen, PIPE=subprocess.PIPE,
        STDOUT=subprocess.STDOUT, CalledProcessError=subprocess.CalledProcessError, call=subprocess.call,
    )  # fmt: skip


def failure(setup, capsys) -> str:
    """Run; expect status 1 and one sentence as the last line of stderr."""
    assert setup.main() == 1
    *_, last = capsys.readouterr().err.strip().splitlines()
    assert last.startswith("Set-up failed. ") and "Traceback" not in last
    return last


def finished(setup) -> bool:
    return setup.read_stamp() == setup.finished_stamp()


# --- Pythons ---------------------------------------------------------------------------------------------------------


def test_very_old_pythons_can_parse_the_script():
    tree = ast.parse(SCRIPT, feature_version=(3, 4))
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Nonlocal)
    assert not [node for node in ast.walk(tree) if isinstance(node, newer)]
    assert SCRIPT.isascii()  # Python 2 has no default source encoding
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.returns is None and not node.args.kwonlyargs
            assert all(argument.annotation is None for argument in node.args.args)
        if isinstance(node, ast.Raise):
            assert node.cause is None


@pytest.mark.parametrize("version", ["(2, 7, 18)", "(3, 8, 10)", "(3, 14, 0)"])
def test_unsuitable_python_says_which_one_is_needed(tmp_path, version):
    shutil.copy(ROOT / "setup_env.py", tmp_path)
    pretend = f"import sys, runpy; sys.version_info = {version}; runpy.run_path('setup_env.py', run_name='__main__')"
    named = dict(os.environ, PYTHON=sys.executable)  # a Python named by hand: no other is looked for
    result = subprocess.run([sys.executable, "-c", pretend], cwd=tmp_path, env=named, capture_output=True, text=True)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "needs Python 3.11-3.13, found " + ".".join(version.strip("()").split(", ")[:2]) in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_suitable_python_is_found_beside_an_old_one(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "setup_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, version in {"python3": "3.9", "python3.13": "broken", "python3.12": "3.12"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert module.find_python((3, 9), search=True) == "python3.12"
    assert module.find_python((3, 11), search=True) == sys.executable
    with pytest.raises(module.SetupError, match="3.9"):
        module.find_python((3, 9), search=False)


def test_missing_venv_module(setup, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert "apt install python3-venv" in failure(setup, capsys)
    assert not os.path.exists(setup.VENV)


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_makefile_without_any_python(tmp_path):
    make = [shutil.which("make"), "-f", str(ROOT / "Makefile"), "environment"]
    for more, said in ([], "No Python found: install"), (["PYTHON=/no/python"], "/no/python does not run: install"):
        result = subprocess.run(make + more, cwd=tmp_path, env={"PATH": "/none"}, capture_output=True, text=True)
        assert result.returncode != 0
        assert f"{said} Python 3.11, 3.12 or 3.13" in result.stderr


# --- disk and network ------------------------------------------------------------------------------------------------


def test_too_little_disk_is_said_before_anything_is_made(setup, capsys, monkeypatch):
    monkeypatch.undo()
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda _: SimpleNamespace(free=1.5e9))
    message = failure(setup, capsys)
    assert "needs 4 GB" in message and "1.5 GB" in message
    assert not os.path.exists(setup.VENV)


def test_disk_full_during_pip(setup, capsys, monkeypatch):
    def pip_install(*_):
        raise setup.explain("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n")

    monkeypatch.setattr(setup, "pip_install", pip_install)
    assert "The disk is full" in failure(setup, capsys)
    assert not finished(setup)


def test_disk_full_while_the_script_itself_writes(setup, capsys, monkeypatch):
    def write_stamp(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(setup, "write_stamp", write_stamp)
    assert "The disk is full" in failure(setup, capsys)


def test_folder_that_cannot_be_written(setup, capsys, monkeypatch):
    def makedirs(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(setup.os, "makedirs", makedirs)
    assert "cannot be written" in failure(setup, capsys)


@pytest.fixture(params=["0", "1"], ids=["no retries", "one retry"])
def unreachable_index(request, setup, monkeypatch):
    """The real pip of these tests, an index on a port where nobody listens, and a package that is not there."""
    monkeypatch.setattr(setup, "pip_install", setup.real_pip_install)
    monkeypatch.setattr(setup, "VENV_PYTHON", sys.executable)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", request.param)
    return setup


def test_no_network_on_the_first_call(unreachable_index, capsys):
    assert "No network" in failure(unreachable_index, capsys)
    assert not finished(unreachable_index)


def test_no_network_for_an_update_keeps_the_old_environment(unreachable_index, capsys):
    setup = unreachable_index
    os.makedirs(setup.VENV)
    old = dict(setup.finished_stamp(), requirements="those of last week")
    setup.write_stamp(old)
    assert "No network" in failure(setup, capsys)
    assert setup.read_stamp() == old


def test_a_package_without_a_build_for_this_system(setup):
    pip = "ERROR: Could not find (from versions: 2.2.2)\nERROR: No matching distribution found for torch==2.13.0"
    error = setup.explain(pip)
    assert "no build for this system" in str(error) and not isinstance(error, setup.NoNetwork)


# --- the stamp -------------------------------------------------------------------------------------------------------


def test_second_call_does_nothing(setup, capsys):
    assert setup.main() == 0 and setup.done == ["venv", "pip", "pip"] and finished(setup)
    started = time.monotonic()
    assert setup.main() == 0 and setup.done == ["venv", "pip", "pip"]
    assert time.monotonic() - started < 2
    assert capsys.readouterr().out.endswith("The environment .venv is ready.\n")


def test_an_interrupted_set_up_is_made_afresh(setup, capsys, monkeypatch):
    def stop(*_):
        (Path(setup.VENV) / "half-a-package").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(setup, "pip_install", stop)
        assert setup.main() == 130
    assert "Stopped before the set-up was finished" in capsys.readouterr().out
    assert not finished(setup)
    assert setup.main() == 0 and finished(setup)
    assert not (Path(setup.VENV) / "half-a-package").exists()
    assert setup.done == ["venv", "venv", "pip", "pip"]


def test_changed_requirements_are_installed_into_the_same_environment(setup, tmp_path):
    assert setup.main() == 0
    (tmp_path / "requirements.txt").write_text("another==1.0\n")
    assert setup.main() == 0 and finished(setup)
    assert setup.done == ["venv", "pip", "pip", "pip", "pip"]


@pytest.mark.parametrize("change", [{"folder": "/somewhere/else"}, {"finished": False}])
def test_a_moved_or_unfinished_environment_is_made_afresh(setup, change):
    assert setup.main() == 0
    setup.write_stamp({**setup.finished_stamp(), **change})
    assert setup.main() == 0 and finished(setup)
    assert setup.done == ["venv", "pip", "pip"] * 2


def test_a_lost_or_broken_python_is_noticed(setup):
    assert setup.main() == 0
    os.remove(setup.VENV_PYTHON)
    assert setup.main() == 0
    assert setup.done == ["venv", "pip", "pip"] * 2


def test_a_second_set_up_at_the_same_time_waits(setup):
    fcntl = pytest.importorskip("fcntl")
    assert setup.main() == 0
    with open(setup.__file__) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        other = subprocess.Popen([sys.executable, setup.__file__], stdout=subprocess.PIPE, text=True)
        assert "waiting" in other.stdout.readline()
        assert other.poll() is None
    out, _ = other.communicate(timeout=20)
    assert other.returncode == 0 and "ready" in out


# --- what is installed -----------------------------------------------------------------------------------------------


def test_requirements_agree_with_pyproject():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {r.name: r.specifier for r in map(Requirement, (line for line in lines if line and line[0] not in "#-"))}
    assert str(pinned.pop("torch")) == "==2.13.0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = dict(project["optional-dependencies"])
    assert [Requirement(line).name for line in extras.pop("track")] == ["tensorboard"]  # the lessons do without
    listed = [*project["dependencies"], *sum(extras.values(), [])]
    ranges = {r.name: r.specifier for r in map(Requirement, listed)}
    assert ranges.pop("torch").contains("2.13.0")
    assert ranges == pinned
    for name, specifier in pinned.items():
        assert any(s.operator in ("<", "==") for s in specifier), f"{name} has no upper bound"
        assert any(s.operator in (">=", "==") for s in specifier), f"{name} has no lower bound"


def test_a_stage_that_collects_nothing_is_said_and_does_not_fail(tmp_path):
    spec = importlib.util.spec_from_file_location("run_tests", ROOT / "tests" / "run.py")
    run_tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run_tests)
    empty = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    assert run_tests.run(empty, {}) == (True, "SKIPPED (no test found)")
    assert run_tests.run([sys.executable, "-c", "raise SystemExit(3)"], {}) == (False, "FAILED (exit status 3)")
    assert run_tests.main(["no-such-stage"]) == 2
    assert json.dumps(run_tests.environment()).count("MPLBACKEND") == 0
