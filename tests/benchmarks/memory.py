"""python memory.py ours|theirs|pieces|fixed V [TEXTS]: MiB by which the loss and its gradient raise the peak."""

import os
import resource
import sys
from pathlib import Path

import torch
from loss_case import Case


def peak_mebibytes() -> float:
    """Largest resident memory so far. On Linux ru_maxrss starts from that of the parent process; VmHWM does not."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    name, V = sys.argv[1], int(sys.argv[2])
    Case(64).run(name)  # wakes the threads and the libraries, which take memory once
    case = Case(V, *map(int, sys.argv[3:]))
    before = peak_mebibytes()
    result = case.run(name)
    print(peak_mebibytes() - before)
