"""The problems of a run: built-in arithmetic, data files and hub data sets as `Problem` records.

Imports without torch.
"""

from trainer.text.problems.holding_out import hold_out
from trainer.text.problems.inspection import Inspection, inspect
from trainer.text.problems.locations import locate
from trainer.text.problems.reading import LeftOut
from trainer.text.problems.records import Message, Problem, ProblemError, ProblemSet
from trainer.text.problems.sources import (
    RunProblems,
    Survey,
    choice_answers,
    load,
    load_all,
    load_part,
    load_source,
    preview,
    problem_set,
    references,
    survey,
)

__all__ = [
    "Inspection",
    "LeftOut",
    "Message",
    "Problem",
    "ProblemError",
    "ProblemSet",
    "RunProblems",
    "Survey",
    "choice_answers",
    "hold_out",
    "inspect",
    "load",
    "load_all",
    "load_part",
    "load_source",
    "locate",
    "preview",
    "problem_set",
    "references",
    "survey",
]
