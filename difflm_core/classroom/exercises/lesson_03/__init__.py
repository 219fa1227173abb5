"""Exercises of lesson 03, LD4LG: v to x, padding, the carried estimate, guidance, a score that fluency cannot fool."""

from difflm_core.classroom.exercises.lesson_03.carried import ex3_3
from difflm_core.classroom.exercises.lesson_03.content import ex3_5
from difflm_core.classroom.exercises.lesson_03.guided import ex3_4
from difflm_core.classroom.exercises.lesson_03.padding import ex3_2
from difflm_core.classroom.exercises.lesson_03.v_to_x import ex3_1

__all__ = ["ex3_1", "ex3_2", "ex3_3", "ex3_4", "ex3_5"]
