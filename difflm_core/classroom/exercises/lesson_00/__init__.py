"""Exercises of lesson 00, the start: perplexity, random words, a hole filled by an AR model, drafts to mend."""

from difflm_core.classroom.exercises.lesson_00.fill_hole import ex0_3
from difflm_core.classroom.exercises.lesson_00.mend import ex0_4
from difflm_core.classroom.exercises.lesson_00.perplexity import ex0_1
from difflm_core.classroom.exercises.lesson_00.random_noise import ex0_2

__all__ = ["ex0_1", "ex0_2", "ex0_3", "ex0_4"]
