"""The results of evaluations by problem, read from their Parquet artifacts.

Columns: `problem` (text, the id), `passed` and `verdicts` (right and judged answers to it). Files
of newer runs also have `answers`, see `kept_answers`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from webapp.library import artifacts
from webapp.library.models import Artifact
from webapp.runs.models import Evaluation

COUNTS = ("passed", "verdicts")


def per_problem(evaluation: Evaluation) -> dict[str, float]:
    """Return the pass rate (0 to 1) of each problem that was judged, by the problem's id.

    Empty if the file is missing or damaged: a page then says that there are no results.
    """
    return per_problem_of([evaluation])[evaluation.pk]


def per_problem_of(evaluations: Iterable[Evaluation]) -> dict[int, dict[str, float]]:
    """Return the same of several evaluations by their primary keys, in one query."""
    evaluations = list(evaluations)
    paths = paths_of(evaluations)
    return {
        evaluation.pk: _rates(paths[evaluation.pk]) if evaluation.pk in paths else {}
        for evaluation in evaluations
    }


def paths_of(evaluations: Iterable[Evaluation]) -> dict[int, Path]:
    """Return where the file of each evaluation is, by primary key; not of those whose team has
    none.
    """
    evaluations = list(evaluations)
    # Each team has its own row of an artifact: naming the bytes of another team gives no access.
    stored = set(
        Artifact.objects.filter(
            sha256__in={evaluation.artifact for evaluation in evaluations}
        ).values_list("team", "sha256")
    )
    return {
        evaluation.pk: artifacts.local_path(evaluation.artifact)
        for evaluation in evaluations
        if (evaluation.run.team_id, evaluation.artifact) in stored
    }


def _rates(path: Path) -> dict[str, float]:
    try:
        # Files are small and a comparison reads many: threads would cost more than they save.
        with parquet.ParquetFile(path) as file:
            table = file.read(columns=["problem", *COUNTS], use_threads=False)
        problems = map(str, table["problem"].to_pylist())
        passed, verdicts = (table[name].cast(pa.int64()).to_pylist() for name in COUNTS)
    except (pa.ArrowException, KeyError, OSError, TypeError, ValueError):
        return {}
    return {
        problem: right / judged
        for problem, right, judged in zip(problems, passed, verdicts, strict=True)
        if judged and right is not None and 0 <= right <= judged
    }
