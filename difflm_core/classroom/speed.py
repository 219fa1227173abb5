"""How fast is this machine? Train the tiny model for some seconds and compare with the machine of the lessons."""

import time

import torch

from difflm_core.classroom.course_map import Entry
from difflm_core.classroom.lesson import progress
from difflm_core.training import RECIPES
from difflm_core.training.state import State

REFERENCE = 12.0  # training steps per second of mdlm-tiny where the lessons' minutes were measured (one thread)
UNCERTAIN = 3  # fewer steps than this say little


def steps_per_second(seconds: float) -> float:
    """Steps of the recipe mdlm-tiny on the CPU, for about so many seconds after a warm-up. Returns steps per second."""
    if seconds <= 0:
        raise ValueError(f"The benchmark needs a time above 0 seconds, got {seconds}.")
    with torch.random.fork_rng(devices=[]):  # a new network is seeded; the notebook's own numbers go on as before
        state = State(RECIPES["mdlm-tiny"][1])
    state.one_step()
    began, steps = time.perf_counter(), 0
    with progress(None, "benchmark", total=round(seconds)) as bar:
        while (passed := time.perf_counter() - began) < seconds or steps < UNCERTAIN:
            state.one_step()
            steps += 1
            bar.update(min(int(passed), bar.total) - bar.n)
        bar.update(bar.total - bar.n)
    return steps / (time.perf_counter() - began)


def minutes_here(lesson: Entry, speed: float) -> float | None:
    """Minutes of computing that the lesson will take at `speed` steps per second; None if it does not state any."""
    return None if lesson.computing is None else lesson.computing * REFERENCE / speed
