"""Exercises of lesson 01, DDPM: the posterior's mean, a DDIM step, an eps weight, equal steps, eight network calls."""

from difflm_core.classroom.exercises.lesson_01.ddim import ex1_2
from difflm_core.classroom.exercises.lesson_01.eight_calls import ex1_5
from difflm_core.classroom.exercises.lesson_01.eps_weight import ex1_3
from difflm_core.classroom.exercises.lesson_01.equal_steps import ex1_4
from difflm_core.classroom.exercises.lesson_01.posterior_mean import ex1_1

__all__ = ["ex1_1", "ex1_2", "ex1_3", "ex1_4", "ex1_5"]
