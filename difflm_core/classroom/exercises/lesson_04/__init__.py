"""Exercises of lesson 04, PLANNER: what beta weighs, the KL of codes, random words, and the simplest rival."""

from difflm_core.classroom.exercises.lesson_04.kl import ex4_2
from difflm_core.classroom.exercises.lesson_04.one_gaussian import ex4_4
from difflm_core.classroom.exercises.lesson_04.swap import ex4_3
from difflm_core.classroom.exercises.lesson_04.weight_of_kl import ex4_1

__all__ = ["ex4_1", "ex4_2", "ex4_3", "ex4_4"]
