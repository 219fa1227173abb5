"""Write lessons/results/NAME.json: never half a file, and always with what is needed to make it again."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

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
    """A study made of rows: take those of `run(seed)` for every seed, say each as it comes (`told(row)`), save all."""
    started, runs = time.perf_counter(), []
    for seed in seeds:
        for row in run(seed):
            runs.append({"seed": seed, **row})
            print(f"{time.perf_counter() - started:5.0f} s   seed {seed}   {told(row)}", flush=True)
    return save(name, settings, runs, time.perf_counter() - started)


def finished(run):
    """The run, or the end of the study if it was interrupted: half-trained models make no results."""
    if not run.finished:
        raise SystemExit(130)
    return run


def made_on() -> dict:
    return {
        "code": code_version(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "date": time.strftime("%Y-%m-%d"),
    }


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
