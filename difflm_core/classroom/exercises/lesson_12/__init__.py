"""Exercises of lesson 12: what training costs, equal budgets for samplers, frontiers, what a table shows, a budget."""

from difflm_core.classroom.exercises.lesson_12.budget import ex12_5
from difflm_core.classroom.exercises.lesson_12.claims import ex12_4
from difflm_core.classroom.exercises.lesson_12.equal_cost import ex12_2
from difflm_core.classroom.exercises.lesson_12.frontier import ex12_3
from difflm_core.classroom.exercises.lesson_12.training_flops import ex12_1

__all__ = ["ex12_1", "ex12_2", "ex12_3", "ex12_4", "ex12_5"]
