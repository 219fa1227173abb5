"""All tests, as `make test` runs them: each stage prints its own summary, a table closes, any failure gives status 1.

    .venv/bin/python tests/run.py                    all stages
    .venv/bin/python tests/run.py lint core          only these
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MINUTES = 40  # a stage that takes longer hangs; a single cell may take 240 s
NOTHING_COLLECTED = 5  # pytest's exit status
PYTEST = [sys.executable, "-m", "pytest"]
NBVAL = [*PYTEST, "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=240", "-n", "2", "--dist", "loadscope"]
CHROMIUM = os.environ.get("DIFFLM_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def environment() -> dict[str, str]:
    """Small sizes, one thread a process, nothing from the network. MPLBACKEND unset: kernels choose their own."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    ours = {"DIFFLM_FAST": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", **threads}
    return {**{name: value for name, value in os.environ.items() if name != "MPLBACKEND"}, **ours}


def notebooks(folder: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob("*.ipynb"))


def stages() -> dict[str, tuple[str, list[str] | str, dict[str, str]]]:
    """Name -> (what it is, command or the reason why it is left out, additional environment variables)."""
    student, solved = notebooks("lessons"), notebooks("lessons/solutions")
    browser = (ROOT / "tests" / "browser").is_dir()
    return {
        "lint": ("ruff on every file", [sys.executable, "-m", "ruff", "check", ".", "--output-format=concise"], {}),
        "core": ("the package and the notebooks' hygiene", [*PYTEST, "tests", "-n", "2", "--dist", "loadscope"], {}),
        "lessons": ("student notebooks, exercises unfilled", [*NBVAL, *student] if student else "none there", {}),
        "solutions": (
            "solved notebooks, a wrong exercise is an error",
            [*NBVAL, *solved] if solved else "none there",
            {"DIFFLM_STRICT": "1"},
        ),
        "browser": (
            "JupyterLab as a student sees it",
            [*PYTEST, "tests/browser"] if browser and CHROMIUM
            else "no Chromium found: install it, or name it in DIFFLM_CHROMIUM" if browser else "none there",
            {"DIFFLM_CHROMIUM": CHROMIUM or ""},
        ),
    }  # fmt: skip


def run(command: list[str] | str, more: dict[str, str]) -> tuple[bool, str]:
    """(did it hold?, one word on it)."""
    if isinstance(command, str):
        return True, f"SKIPPED ({command})"
    try:
        status = subprocess.run(command, cwd=ROOT, env=environment() | more, timeout=60 * MINUTES).returncode
    except subprocess.TimeoutExpired:
        return False, f"FAILED (stopped after {MINUTES} minutes)"
    if status == NOTHING_COLLECTED and "pytest" in command:
        return True, "SKIPPED (no test found)"
    return status == 0, "passed" if status == 0 else f"FAILED (exit status {status})"


def main(chosen: list[str]) -> int:
    plan = stages()
    if unknown := [name for name in chosen if name not in plan]:
        print(f"No stage {', '.join(unknown)}: the stages are {', '.join(plan)}.", file=sys.stderr)
        return 2
    lines, good = [], True
    for name in chosen or plan:
        what, command, more = plan[name]
        print(f"\n=== {name}: {what}", flush=True)
        started = time.monotonic()
        held, word = run(command, more)
        good = good and held
        lines.append(f"  {name:10} {time.monotonic() - started:6.0f} s   {word}")
        print(f"=== {name}: {word}", flush=True)
    print("\n=== all stages", *lines, sep="\n")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
