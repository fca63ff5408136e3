"""The built-in teacher and student, two small models of arithmetic: a run needs no download.

`builtin:teacher` and `builtin:student` in a run definition name the folders here. `python -m
trainer.text.builtin.make` made them.
"""
