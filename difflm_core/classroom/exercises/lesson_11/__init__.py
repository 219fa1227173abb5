"""Exercises of lesson 11, large diffusion models: counts, block masks, the entropy bound, answers, an own rule."""

from difflm_core.classroom.exercises.lesson_11.accept import ex11_3
from difflm_core.classroom.exercises.lesson_11.answer_loss import ex11_4
from difflm_core.classroom.exercises.lesson_11.own_rule import ex11_5
from difflm_core.classroom.exercises.lesson_11.sight import ex11_2
from difflm_core.classroom.exercises.lesson_11.transfer import ex11_1

__all__ = ["ex11_1", "ex11_2", "ex11_3", "ex11_4", "ex11_5"]
