"""python memory.py ours|theirs V: the MiB by which one forward and backward pass of the loss raises this process's peak
memory.
"""

import os
import resource
import sys

import torch
from loss_case import Case

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
name, V = sys.argv[1], int(sys.argv[2])
Case(64).run(name)  # wakes the threads and the libraries, which take memory once
case = Case(V)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = case.run(name)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) / (1024 if sys.platform == "linux" else 2**20))
