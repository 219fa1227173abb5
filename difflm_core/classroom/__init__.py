"""The classroom: what a lesson needs around its mathematics.

build      one text source (lessons/source/NN_name.py) -> student and solved notebooks, executed
notebooks  the rules of that source     outputs  tidy stored outputs
lesson     first cell, progress bars, figures with alt text, tables of sample sentences, stored results
checks     exercises that check themselves and name the usual mistake
sentences  a sentence whose words carry a mark (masked, new, changed, broken, right, wrong)
plots      one quiet style, one colour per method, direct labels, pictures of tokens over time
fills      what a model makes of a partly masked sentence
widgets    sliders, each with a static twin that needs no kernel
corruptions  a sentence as several kinds of noise leave it, for a slider and its static twin
trajectories how one text came to be, as JSON (recordings: from samples; films: shown in four ways)
remasking    what each rule would take back from a draft, and how likely each word is wrong
schedule_curves  what a schedule does: signal, SNR, readable words, loss weight
cockpit      settings of a sampler, and one text recorded under each
typed        sentences that somebody types: read, or refused in one sentence
widgets_*    the live widgets of these: player, reader, schedule, remasking, cockpit
figures      the pictures of README and the overview, made again
course_map   the thirteen lessons: their questions, whether they are here, their minutes
grade      handed-in notebooks -> marks, by the course's own checks (grading: its parts)
misconceptions  the usual mistakes of every exercise, as their checks name them
commands     how the next two end: a sentence and a status
handout      a lesson as a page and as slides (handout_pages, handout_slides, handout_equations)
assignments  a lesson for nbgrader
doctor     is this machine ready, and how long will each lesson compute on it? (machine, speed: what it looks at)

Nothing is imported here, so that `python -m difflm_core.classroom.build --check` stays quick.
"""
