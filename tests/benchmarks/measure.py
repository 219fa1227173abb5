"""Timing and peak memory."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLOCK = os.environ.get("DIFFLM_BENCH_CLOCK", "wall")  # "cpu": seconds of all threads together
now = time.process_time if CLOCK == "cpu" else time.perf_counter


def interleaved(cases: dict[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Least seconds of each case over `repeats` rounds, in turns, so that a busy moment hits all alike. One round
    before is not counted.
    """
    best = {name: float("inf") for name in cases}
    for round_ in range(repeats + 1):
        for name, run in cases.items():
            started = now()
            run()
            if round_:
                best[name] = min(best[name], now() - started)
    return best


def extra_mebibytes(*arguments: str) -> float:
    """What `python memory.py ARGUMENTS` prints: peak resident memory over what was there before, in a process of its
    own.
    """
    script = Path(__file__).with_name("memory.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, script, *arguments]
    return float(subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout)


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds < 0.1 else f"{1000 * seconds:,.0f} ms"
