"""What all studies share: rows over seeds, stored whole, each told in a line, kept until then; one set of figures for
toy sentences.
"""

import importlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from difflm_core.classroom.lesson import load_results
from difflm_core.data import toy_language
from difflm_core.samplers import Sample
from difflm_core.studies import kept_rows, store
from difflm_core.studies.__main__ import NAMES
from difflm_core.studies.toy_quality import of_sample, quality

TOLD = [name for name in NAMES if hasattr(importlib.import_module(f"difflm_core.studies.{name}"), "told")]


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(store, "RESULTS", tmp_path / "lessons" / "results")
    monkeypatch.setattr(store, "code_version", lambda: "abc")  # asks git, which takes its time
    return store.RESULTS


def test_rows_of_all_seeds_are_stored_with_their_seed(results, capsys):
    path = store.over_seeds(
        "mine", {"n": 2}, (3, 5), lambda seed: ({"x": seed * i} for i in range(2)), lambda r: f"<{r['x']}>"
    )
    stored = json.loads(path.read_text())
    assert stored["runs"] == [{"seed": s, "x": s * i} for s in (3, 5) for i in range(2)] and stored["settings"] == {
        "n": 2
    }
    assert stored["command"] == "python -m difflm_core.studies.mine"
    said = capsys.readouterr().out
    assert "seed 5   <5>" in said and "(4 runs" in said and "interrupted" not in said
    assert not kept_rows.folder_of("mine").exists()


def rows_of(seed: int, started: list[int], stop: int | None = None):
    started.append(seed)
    yield {"x": seed / 3, "n": (1, 2), "none": None}
    if seed == stop:
        raise KeyboardInterrupt
    yield {"x": -seed, "nan": float("inf")}


def interrupted(settings: dict, stop: int = 2) -> list[int]:
    """The seeds that were begun until seed `stop` was cut off; nothing is stored then."""
    started: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        store.over_seeds("mine", settings, range(4), lambda seed: rows_of(seed, started, stop), str)
    assert not store.RESULTS.exists()
    return started


def whole(settings: dict) -> tuple[list[int], str]:
    """(the seeds that were begun, the stored file apart from the seconds)."""
    started: list[int] = []
    path = store.over_seeds("mine", settings, range(4), lambda seed: rows_of(seed, started), str)
    lines = path.read_text().splitlines(keepends=True)
    path.unlink(), path.parent.rmdir()
    return started, "".join(line for line in lines if not line.startswith(' "seconds"'))


def test_an_interrupted_study_goes_on_and_stores_the_same_file(results, capsys):
    usual = whole({"n": (1, 2)})
    assert usual[0] == [0, 1, 2, 3] and interrupted({"n": (1, 2)}) == [0, 1, 2]
    assert whole({"n": (1, 2)}) == ([2, 3], usual[1])
    assert "2 of 4 parts are there" in capsys.readouterr().out
    assert interrupted({"n": (1, 2)}) == [0, 1, 2], "what was stored is not kept"


@pytest.mark.parametrize("change", ["settings", "threads", "first line"])
def test_with_other_settings_it_begins_anew(change, results, monkeypatch):
    interrupted({"n": 2})
    if change == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    if change == "first line":
        path = kept_rows.folder_of("mine") / "rows.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    assert whole({"n": 3 if change == "settings" else 2})[0] == [0, 1, 2, 3]


def test_with_other_code_it_begins_anew(results, tmp_path, monkeypatch):
    """A package of one file, which is edited: between two runs, or while the first one was running."""
    monkeypatch.setattr(kept_rows, "PACKAGE", tmp_path / "package")
    source = tmp_path / "package" / "study.py"
    source.parent.mkdir()
    source.write_text("a = 1")
    monkeypatch.setattr(kept_rows, "STARTED", time.time() + 3600)
    module = type(sys)("study")
    module.__file__ = str(source)
    monkeypatch.setitem(sys.modules, "study", module)
    interrupted({})
    source.write_text("a = 2")
    assert whole({})[0] == [0, 1, 2, 3]
    interrupted({})
    assert whole({})[0] == [2, 3], "nothing was changed"
    monkeypatch.setattr(kept_rows, "STARTED", source.stat().st_mtime - 1)
    interrupted({})
    assert whole({})[0] == [0, 1, 2, 3], "the file is younger than the process"
    interrupted({})
    source.unlink()
    assert whole({})[0] == [0, 1, 2, 3]


def test_the_package_s_own_files_are_watched():
    files = kept_rows.code()
    assert {"studies/store.py", "studies/kept_rows.py", "data/__init__.py"} <= files.keys() and len(files) > 50
    assert files["studies/store.py"] == kept_rows.hash_of("studies/store.py")


KILLED = """
import os, pathlib, signal, sys
from difflm_core.studies import store
store.RESULTS = pathlib.Path(sys.argv[1]) / "lessons" / "results"
def run(seed):
    for i in range(3):
        print("made", seed, i, flush=True)
        yield {"i": i, "x": seed + i / 7}
        if (seed, i) == (1, 1) and len(sys.argv) > 2:
            os.kill(os.getpid(), signal.SIGKILL)
store.over_seeds("mine", {"rows": 3}, (0, 1, 2), run, lambda row: f"<{row['x']}>")
"""


@pytest.mark.slow
def test_killed_half_way_it_goes_on_and_stores_the_same_file(tmp_path):
    """With signal 9, which nothing can react to."""

    def go(folder: str, *kill: str) -> tuple[int, list[str]]:
        command = [sys.executable, "-c", KILLED, str(tmp_path / folder), *kill]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        return done.returncode, [line for line in done.stdout.splitlines() if line.startswith("made")]

    def stored(folder: str) -> str:
        lines = (tmp_path / folder / "lessons" / "results" / "mine.json").read_text().splitlines()
        return "\n".join(line for line in lines if not line.startswith((' "seconds"', '  "date"')))

    usual = go("usual")
    assert usual == (0, [f"made {seed} {i}" for seed in range(3) for i in range(3)])
    assert go("killed", "kill") == (-signal.SIGKILL, usual[1][:5])
    assert not (tmp_path / "killed" / "lessons").exists()
    assert go("killed") == (0, usual[1][3:]), "seed 0 was finished, seed 1 begins again"
    assert stored("killed") == stored("usual") and not list((tmp_path / "killed" / "runs").iterdir())


@pytest.mark.parametrize("name", [name for name in TOLD if (store.RESULTS / f"{name}.json").exists()])
def test_stored_rows_can_be_told(name):
    told = importlib.import_module(f"difflm_core.studies.{name}").told
    lines = [told(row) for row in load_results(name)["runs"]]
    assert all(isinstance(line, str) and line for line in lines)


def test_quality_sees_what_is_broken_and_what_is_narrow():
    language = toy_language()
    true = language.sample(400, generator=torch.Generator().manual_seed(0))
    fine, narrow = quality(true), quality(true[:1].expand(400, -1))
    assert fine["grammatical"] == 1 and fine["broken"] == 0 and abs(fine["log_prob_gap"]) < 1
    assert narrow["spread"] == 0 and narrow["distinct"] == 1 / 400 and fine["spread"] > 2
    true[::4, 0] = true[::4, 1]
    assert quality(true)["broken"] == 0.25 and quality(true[:1], least=1)["log_prob_gap"] is None
    calls = torch.arange(400)
    assert of_sample(Sample(true, calls)) == {**quality(true), "network_calls": 199.5}
