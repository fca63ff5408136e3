"""The results of an evaluation by problem, read from its Parquet artifact.

Columns: `problem` (text, the id), `passed` (float, the share of the judged answers that are right;
null if none was judged) and `judged` (integer, the number of judged answers).
"""

from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.parquet as parquet

from webapp.library import artifacts
from webapp.runs.models import Evaluation


def per_problem(evaluation: Evaluation) -> dict[str, float]:
    """Return the pass rate (0 to 1) of each problem that was judged, by the problem's id.

    Empty if the file is missing or damaged: a page then says that there are no results.
    """
    try:
        path = artifacts.path(evaluation.run.team, evaluation.artifact)
        table = parquet.read_table(path, columns=["problem", "passed"])
        rates = dict(
            zip(
                map(str, table["problem"].to_pylist()),
                table["passed"].cast(pa.float64()).to_pylist(),
                strict=True,
            )
        )
    except (pa.ArrowException, KeyError, OSError, TypeError, ValueError):
        return {}
    return {
        problem: rate for problem, rate in rates.items() if rate is not None and math.isfinite(rate)
    }
