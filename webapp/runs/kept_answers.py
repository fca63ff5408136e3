"""The answers that are kept with the results of an evaluation, read from its Parquet artifact.

Column `answers`: for each problem a list of {sample, verdict, truncated, tokens, read, text,
characters}, as the trainer's `evaluation_answers` makes it. Evaluations of earlier versions have no
such column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from webapp.runs.models import Evaluation
from webapp.runs.problem_results import paths_of

# A damaged file fails in any of these ways. A page without the answers is better than no page.
DAMAGED = (
    pa.ArrowException,
    OSError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
)


@dataclass(frozen=True)
class KeptAnswer:
    """One answer; `text` has the first of its `characters`, `read` what the verifier read in it."""

    sample: int
    verdict: bool | None
    truncated: bool
    tokens: int
    read: str
    text: str
    characters: int


def answers_to(evaluation: Evaluation, problem: str) -> list[KeptAnswer]:
    """Return the kept answers to a problem; none if there are none or the file is damaged."""
    path = paths_of([evaluation]).get(evaluation.pk)
    if path is None:
        return []
    try:
        table = parquet.read_table(
            path, columns=["problem", "answers"], filters=[("problem", "=", problem)]
        )
        return [_answer(answer) for row in table["answers"].to_pylist() for answer in row or ()]
    except DAMAGED:
        return []


def answered_problems(evaluations: Iterable[Evaluation]) -> dict[int, frozenset[str]]:
    """Return the ids of problems with kept answers by primary key, in one query."""
    evaluations = list(evaluations)
    paths = paths_of(evaluations)
    return {
        evaluation.pk: _answered(paths[evaluation.pk]) if evaluation.pk in paths else frozenset()
        for evaluation in evaluations
    }


def keep_answers(evaluations: Iterable[Evaluation]) -> set[int]:
    """Return the primary keys of those whose files have a column of answers, in one query."""
    return {pk for pk, path in paths_of(evaluations).items() if _has_column(path)}


def _answered(path: Path) -> frozenset[str]:
    try:
        table = parquet.read_table(path, columns=["problem", "answers"])
        rows = zip(table["problem"].to_pylist(), table["answers"].to_pylist(), strict=True)
        return frozenset(str(problem) for problem, answers in rows if answers)
    except DAMAGED:
        return frozenset()


def _has_column(path: Path) -> bool:
    try:
        return "answers" in parquet.read_schema(path).names
    except DAMAGED:
        return False


def _answer(answer: Mapping[str, Any]) -> KeptAnswer:
    verdict, text = answer["verdict"], str(answer["text"] or "")
    return KeptAnswer(
        int(answer["sample"] or 0),
        None if verdict is None else bool(verdict),
        bool(answer["truncated"]),
        int(answer["tokens"] or 0),
        str(answer["read"] or ""),
        text,
        int(answer["characters"] or len(text)),
    )
