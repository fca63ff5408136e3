"""The built-in teacher and student: two small language models that solve arithmetic, so that a run
needs no download.

`builtin:teacher` and `builtin:student` in a run definition name the folders here. `python -m
trainer.text.builtin.make` made them.
"""
