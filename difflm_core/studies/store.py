"""Write lessons/results/NAME.json: never half a file, and always with what is needed to make it again."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from difflm_core.studies import kept_rows  # which asks for RESULTS only when it runs

RESULTS = Path(__file__).resolve().parents[2] / "lessons" / "results"


def save(name: str, settings: dict, runs: list[dict], seconds: float) -> Path:
    """One dict per run (with its seed); `settings` holds for all of them."""
    command = f"python -m difflm_core.studies.{name}"
    content = {
        "study": name,
        "command": command,
        "settings": settings,
        "seconds": round(seconds),
        "made_on": made_on(),
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    part = path.with_suffix(".json.part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)
    print(f"wrote lessons/results/{path.name} ({len(runs)} runs, {seconds:.0f} s)")
    return path


def over_seeds(
    name: str, settings: dict, seeds: Iterable[int], run: Callable[[int], Iterable[dict]], told: Callable[[dict], str]
) -> Path:
    """A study made of rows: take those of `run(seed)` for every seed, say each as it comes (`told(row)`), save all.

    Interrupted, the same command goes on with the seed that it was in; with other settings, code, versions or threads
    it begins anew (`kept_rows`). The stored seconds are those of the finished seeds.
    """
    made_with = {"settings": settings, "made_on": machine()}
    kept_rows.forget_outdated(name, made_with)
    cells = [{"seed": seed} for seed in seeds]
    runs, seconds = kept_rows.over_cells(
        name, made_with, cells, lambda seed: run(seed), lambda row: f"seed {row['seed']}   {told(row)}"
    )
    path = save(name, settings, runs, seconds)
    kept_rows.forget(name)
    return path


def finished(run):
    """The run, or the end of the study if it was interrupted: half-trained models make no results."""
    if not run.finished:
        raise SystemExit(130)
    return run


def made_on() -> dict:
    return {"code": code_version(), **machine(), "date": time.strftime("%Y-%m-%d")}


def machine() -> dict:
    """What numbers depend on, apart from code and settings."""
    return {"torch": torch.__version__, "python": platform.python_version(), "threads": torch.get_num_threads()}


def code_version() -> str:
    """The commit, with a plus sign if the tree has changes beside it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            [*git, "status", "--porcelain", "--", "difflm_core"], capture_output=True, text=True, cwd=RESULTS.parents[1]
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if dirty else "")
