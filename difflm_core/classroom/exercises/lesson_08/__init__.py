"""Exercises of lesson 08, masked diffusion: the weight, the loss, a reverse step, the next time, four network calls."""

from difflm_core.classroom.exercises.lesson_08.few_calls import ex8_5
from difflm_core.classroom.exercises.lesson_08.next_time import ex8_4
from difflm_core.classroom.exercises.lesson_08.reverse_step import ex8_3
from difflm_core.classroom.exercises.lesson_08.training_loss import ex8_2
from difflm_core.classroom.exercises.lesson_08.weight import ex8_1

__all__ = ["ex8_1", "ex8_2", "ex8_3", "ex8_4", "ex8_5"]
