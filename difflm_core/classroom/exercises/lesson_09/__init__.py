"""Exercises of lesson 09, GIDD: wrong words, the weights, a reverse step, one correction, eight network calls."""

from difflm_core.classroom.exercises.lesson_09.correction import ex9_4
from difflm_core.classroom.exercises.lesson_09.eight_calls import ex9_5
from difflm_core.classroom.exercises.lesson_09.reverse_step import ex9_3
from difflm_core.classroom.exercises.lesson_09.weights import ex9_2
from difflm_core.classroom.exercises.lesson_09.wrong_share import ex9_1

__all__ = ["ex9_1", "ex9_2", "ex9_3", "ex9_4", "ex9_5"]
