"""The panels of a run: each reads events of one type, draws them as SVG and has its own URL.

A panel is shown if the run has such events, or if its definition will lead to some.
"""
