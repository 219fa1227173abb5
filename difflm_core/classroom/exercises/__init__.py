"""The checks of the lessons' exercises, one room a lesson: what a right answer must do, and the usual mistakes by name.

A lesson imports `ex8_1`, ... from `difflm_core.classroom.exercises.lesson_08`; for how a check works see
`classroom/checks.py`. `spies` holds the models that watch what a student's function asks of them.
"""
