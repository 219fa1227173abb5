"""Benchmarks: `make bench`, or `pytest tests/benchmarks -s`. Never part of an ordinary test run (norecursedirs in
pyproject.toml). `make bench ARGS="--table speed.md"` writes the table as Markdown too; `ARGS="-k whole_runs"` and the
like measure a part.

Each asserts equality with the other algorithm first and then times both; times are printed in one table at the end and
never asserted. OMP_NUM_THREADS sets the threads (all cores if unset). Read the load average beside them before
believing them; on a busy machine take one thread and DIFFLM_BENCH_CLOCK=cpu, which counts processor time.
"""

import os
from pathlib import Path

import pytest
import torch
from measure import CLOCK

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
ROWS: list[tuple[str, str, str, str]] = []
LOADS: list[float] = []


def pytest_addoption(parser):
    parser.addoption("--table", type=Path, metavar="FILE", help="write the table of benchmarks there, as Markdown")


@pytest.fixture
def table():
    """table(what, theirs, ours, ratio): one line of the table at the end. Theirs is the direct way: all positions, the
    full vocabulary, one-hot targets, matrices.
    """
    LOADS.append(os.getloadavg()[0])
    yield lambda *cells: ROWS.append(cells)
    LOADS.append(os.getloadavg()[0])


def pytest_terminal_summary(terminalreporter, config):
    if not ROWS:
        return
    rows = [("", "the other way", "ours", "ratio"), *ROWS]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    terminalreporter.section("benchmarks")
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        terminalreporter.write_line("  ".join(cells))
    terminalreporter.write_line(circumstances())
    if file := config.getoption("--table"):
        lines = [f"| {' | '.join(row)} |" for row in rows]
        lines.insert(1, "|---|--:|--:|--:|")
        file.write_text("\n".join([*lines, "", circumstances()]) + "\n", encoding="utf-8")


def circumstances() -> str:
    return (
        f"{CLOCK} time, torch {torch.__version__}, {torch.get_num_threads()} threads on {os.cpu_count()} cores, "
        f"load average {min(LOADS):.1f} to {max(LOADS):.1f} while running (about {torch.get_num_threads()} of it "
        "these benchmarks)"
    )
