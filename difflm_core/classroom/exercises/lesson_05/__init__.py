"""Exercises of lesson 05, TEncDM: half of the signal, width and d, encodings, the decoder's loss, an even schedule."""

from difflm_core.classroom.exercises.lesson_05.decoder_loss import ex5_4
from difflm_core.classroom.exercises.lesson_05.encodings import ex5_3
from difflm_core.classroom.exercises.lesson_05.even_schedule import ex5_5
from difflm_core.classroom.exercises.lesson_05.half_time import ex5_1
from difflm_core.classroom.exercises.lesson_05.width import ex5_2

__all__ = ["ex5_1", "ex5_2", "ex5_3", "ex5_4", "ex5_5"]
