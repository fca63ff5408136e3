"""The results of an evaluation by problem, read from its Parquet artifact.

Columns: `problem` (text, the id), `passed` and `verdicts` (right and judged answers to it).
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as parquet

from webapp.library import artifacts
from webapp.runs.models import Evaluation

COUNTS = ("passed", "verdicts")


def per_problem(evaluation: Evaluation) -> dict[str, float]:
    """Return the pass rate (0 to 1) of each problem that was judged, by the problem's id.

    Empty if the file is missing or damaged: a page then says that there are no results.
    """
    try:
        path = artifacts.path(evaluation.run.team, evaluation.artifact)
        table = parquet.read_table(path, columns=["problem", *COUNTS])
        problems = map(str, table["problem"].to_pylist())
        passed, verdicts = (table[name].cast(pa.int64()).to_pylist() for name in COUNTS)
    except (pa.ArrowException, KeyError, OSError, TypeError, ValueError):
        return {}
    return {
        problem: right / judged
        for problem, right, judged in zip(problems, passed, verdicts, strict=True)
        if judged and right is not None and 0 <= right <= judged
    }
