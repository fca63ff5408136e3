"""The series store beside what trackers keep: how fast a chart is read, and what a point costs as a
run grows.
"""
