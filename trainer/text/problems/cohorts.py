"""Test-time cohorts: training on the evaluation problems themselves, without their references.

The references are removed here, before anything else sees a problem, and ids that were computed
from them are computed again from the questions. So nothing that is trained on depends on a
reference; the evaluation alone reads them.

Source of the setting: TTRL, arXiv 2504.16084.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from trainer.spec import FileProblems
from trainer.spec.data import TrainProblems
from trainer.text.problems.mapping import content_id
from trainer.text.problems.records import Problem


def cohort_of(
    source: TrainProblems, problems: Iterable[Problem]
) -> tuple[list[Problem], list[Problem]]:
    """Return the problems without references and the same with them, in one order.

    Two problems that differ in their references alone are one problem; the first is kept.
    """
    with_references: dict[str, Problem] = {}
    for problem in problems:
        id = problem.id if _has_own_ids(source) else _id_of_question(problem)
        with_references.setdefault(id, replace(problem, id=id))
    evaluated = list(with_references.values())
    return [replace(problem, answer="", solution="") for problem in evaluated], evaluated


def _has_own_ids(source: TrainProblems) -> bool:
    """Whether ids come from a column, or from a question alone, as those of arithmetic do."""
    return not isinstance(source, FileProblems) or (
        source.shape == "columns" and source.columns.id is not None
    )


def _id_of_question(problem: Problem) -> str:
    return content_id(problem.question, "", problem.history)
