"""Exercises of lesson 10, Star and G-Star: sigma's bound, a star step, what to take back, labels, eight calls."""

from difflm_core.classroom.exercises.lesson_10.choose import ex10_3
from difflm_core.classroom.exercises.lesson_10.eight_calls import ex10_5
from difflm_core.classroom.exercises.lesson_10.labels import ex10_4
from difflm_core.classroom.exercises.lesson_10.largest_sigma import ex10_1
from difflm_core.classroom.exercises.lesson_10.star_step import ex10_2

__all__ = ["ex10_1", "ex10_2", "ex10_3", "ex10_4", "ex10_5"]
