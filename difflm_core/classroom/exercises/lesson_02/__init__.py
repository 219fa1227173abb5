"""Exercises of lesson 02, Diffusion-LM: the start's noise, rounding, clamping, infilling, three useful calls."""

from difflm_core.classroom.exercises.lesson_02.clamp import ex2_3
from difflm_core.classroom.exercises.lesson_02.infill import ex2_4
from difflm_core.classroom.exercises.lesson_02.rounding import ex2_2
from difflm_core.classroom.exercises.lesson_02.start_noise import ex2_1
from difflm_core.classroom.exercises.lesson_02.three_calls import ex2_5

__all__ = ["ex2_1", "ex2_2", "ex2_3", "ex2_4", "ex2_5"]
