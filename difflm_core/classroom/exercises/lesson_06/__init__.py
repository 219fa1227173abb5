"""Exercises of lesson 06, COSMOS: the loss, what the compressor reads, missing numbers, undoing, a rough space."""

from difflm_core.classroom.exercises.lesson_06.missing import ex6_2
from difflm_core.classroom.exercises.lesson_06.perturbed import ex6_3
from difflm_core.classroom.exercises.lesson_06.roughness import ex6_5
from difflm_core.classroom.exercises.lesson_06.two_terms import ex6_1
from difflm_core.classroom.exercises.lesson_06.undone import ex6_4

__all__ = ["ex6_1", "ex6_2", "ex6_3", "ex6_4", "ex6_5"]
