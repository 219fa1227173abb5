"""Rows of a long study, kept as they come: interrupted, it goes on with the first cell that was not finished.

A cell is a part that is made whole or not at all, for instance one network with all its samplers, or one seed. Rows
stand in runs/study-NAME/rows.jsonl until the study is stored; the first line holds the settings that they were made
with, and every cell the files of the package that were loaded when it was made. Only these are watched: a checkpoint
or a text that a study reads may change without notice.
"""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from difflm_core.studies import store

PACKAGE = Path(__file__).resolve().parents[1]
STARTED = psutil.Process().create_time()


def runs() -> Path:
    """Where runs are kept."""
    return store.RESULTS.parents[1] / "runs"


def folder_of(name: str) -> Path:
    return runs() / f"study-{name}"


def over_cells(
    name: str,
    settings: dict,
    cells: Iterable[dict],
    run: Callable[..., Iterable[dict]],
    told: Callable[[dict], str],
) -> tuple[list[dict], float]:
    """(the rows of `run(**cell)` for every cell, with the cell in each; seconds that they took). Raises ValueError if
    rows of other settings are kept there.
    """
    path, cells = folder_of(name) / "rows.jsonl", list(cells)
    path.parent.mkdir(parents=True, exist_ok=True)
    done = [kept for kept in finished_cells(path, settings) if kept["cell"] in cells]
    if not path.exists() or not path.stat().st_size:
        path.write_text(json.dumps(settings) + "\n", encoding="utf-8")
    if done:
        print(f"{len(done)} of {len(cells)} parts are there from a run that was interrupted", flush=True)
    before = sum(kept["seconds"] for kept in done)
    for cell in cells:
        if any(kept["cell"] == cell for kept in done):
            continue
        began, rows = time.perf_counter(), []
        for row in run(**cell):
            rows.append({**cell, **row})
            print(f"{before + time.perf_counter() - began:5.0f} s   {told(rows[-1])}", flush=True)
        done.append({"cell": cell, "rows": rows, "seconds": time.perf_counter() - began})
        before += done[-1]["seconds"]
        path.parent.mkdir(parents=True, exist_ok=True)  # another run of the same study may have ended and cleared it
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**done[-1], "code": code()}) + "\n")
    done.sort(key=lambda kept: cells.index(kept["cell"]))
    return [row for kept in done for row in kept["rows"]], before


def finished_cells(path: Path, settings: dict) -> list[dict]:
    """What is kept: a line that was cut off while it was written is no cell, and is taken away."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        path.write_text("".join(whole), encoding="utf-8")
    if whole and json.loads(whole[0]) != json.loads(json.dumps(settings)):
        raise ValueError(f"{path} keeps rows of other settings: delete {path.parent} to begin anew.")
    return [json.loads(line) for line in whole[1:]]


def forget_outdated(name: str, settings: dict) -> None:
    """Take away rows of other settings, and all rows if one was made by code that has changed since."""
    try:
        done = finished_cells(folder_of(name) / "rows.jsonl", settings)
    except ValueError:
        return forget(name)
    if any(hash_of(file) != was for kept in done for file, was in kept.get("code", {}).items()):
        forget(name)


def code() -> dict[str, str]:
    """The hash of every file of the package that this process has loaded. A file that was written after the process
    began may not be what it runs, so it gets a word instead, which no hash equals.
    """
    files = {str(getattr(module, "__file__", None)) for module in list(sys.modules.values())}
    ours = sorted(Path(file).relative_to(PACKAGE).as_posix() for file in files if Path(file).is_relative_to(PACKAGE))
    return {file: hash_of(file) if unchanged(PACKAGE / file) else "written later" for file in ours}


def unchanged(path: Path) -> bool:
    return path.exists() and path.stat().st_mtime <= STARTED


def hash_of(file: str) -> str:
    path = PACKAGE / file
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else "gone"


def forget(name: str) -> None:
    """Take away what was kept, once the study is stored."""
    shutil.rmtree(folder_of(name), ignore_errors=True)
