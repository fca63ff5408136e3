"""The problems of a run: built-in arithmetic, data files and hub data sets, all as `Problem` records."""

from trainer.text.problems.records import Problem, ProblemError, ProblemSet

__all__ = ["Problem", "ProblemError", "ProblemSet"]
