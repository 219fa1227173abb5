"""Rows of a long study, kept as they come: interrupted, it goes on with the first cell that was not finished.

A cell is a part that is made whole or not at all, for instance one network with all its samplers. Rows stand in
runs/NAME/rows.jsonl until the study is stored; the first line holds the settings that they were made with.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from difflm_core.studies import store


def folder_of(name: str) -> Path:
    return store.RESULTS.parents[1] / "runs" / f"study-{name}"


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
    path = folder_of(name) / "rows.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = finished_cells(path, settings)
    if not path.exists() or not path.stat().st_size:
        path.write_text(json.dumps(settings) + "\n", encoding="utf-8")
    for cell in cells:
        if any(kept["cell"] == cell for kept in done):
            continue
        began, rows = time.perf_counter(), []
        for row in run(**cell):
            rows.append({**cell, **row})
            print(f"{time.perf_counter() - began:5.0f} s   {told(rows[-1])}", flush=True)
        done.append({"cell": cell, "rows": rows, "seconds": time.perf_counter() - began})
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(done[-1]) + "\n")
    return [row for kept in done for row in kept["rows"]], sum(kept["seconds"] for kept in done)


def finished_cells(path: Path, settings: dict) -> list[dict]:
    """What is kept: a line that was cut off while it was written is no cell, and is taken away."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        path.write_text("".join(whole), encoding="utf-8")
    if whole and json.loads(whole[0]) != json.loads(json.dumps(settings)):
        raise ValueError(f"{path} keeps rows of other settings: delete {path.parent} to begin anew.")
    return [json.loads(line) for line in whole[1:]]


def forget(name: str) -> None:
    """Take away what was kept, once the study is stored."""
    shutil.rmtree(folder_of(name), ignore_errors=True)
