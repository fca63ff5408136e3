"""The panels of a run: what each shows is read from events of one type, drawn here as SVG, and has
an address of its own.

A panel is shown where the run has such events, or where its definition says that it will.
"""
