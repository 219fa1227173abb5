"""Exercises of lesson 07, D3PM: many steps at once, one step back, the mixture of posteriors, four good steps."""

from difflm_core.classroom.exercises.lesson_07.four_steps import ex7_4
from difflm_core.classroom.exercises.lesson_07.mixture import ex7_3
from difflm_core.classroom.exercises.lesson_07.reverse_law import ex7_2
from difflm_core.classroom.exercises.lesson_07.total_noise import ex7_1

__all__ = ["ex7_1", "ex7_2", "ex7_3", "ex7_4"]
