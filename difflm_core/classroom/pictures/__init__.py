"""Pictures of stored studies, one file a lesson: how a figure is drawn is not what a lesson is about.

Each function takes the study as `load_results` gives it and returns (figure, alternative text, caption) for `show`.
"""
