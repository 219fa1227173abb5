"""Grading of notebooks that students hand in; the command is `python -m difflm_core.classroom.grade`.

statements   what a line of a notebook binds, changes and uses, and which lines an answer needs
course       a lesson as the grader sees it: its exercises, and the course's own lines before each check
submissions  who handed in what: one file or one folder per student
answers      a student's own lines for one exercise, taken out of the notebook
kernel       a fresh kernel with limits of time, memory and output
inside       what runs in that kernel: the course's lines, the student's, the course's check
marks        one notebook -> one mark per exercise
records      marks that are already there, and the tables made of all of them

This is no security sandbox: a student's code runs with the rights of whoever grades.
"""
