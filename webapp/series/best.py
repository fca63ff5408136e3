"""The best value of a series and its step, found in the buckets of its chart.

The bucket with the best extreme is drawn again at a finer grain, until its points are single. The
cost grows with the logarithm of the run's length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from webapp.runs.better import Better
from webapp.runs.models import Run
from webapp.series.charts import ChartSeries, read

# Points or buckets of one reading; a million steps need three.
WIDTH = 200
# A thinned series has no single points: it is read until a reading is no finer than the last one.
MOST_READINGS = 8


@dataclass(frozen=True)
class BestPoint:
    """The best finite value on the live branch, and the first step at which it was logged.

    For a thinned series the step is the average of the bucket that holds the value.
    """

    step: int
    value: float


def best_points(run: Run, directions: Mapping[str, Better]) -> dict[str, BestPoint]:
    """Return the best point of each key, in the direction that is better for it.

    Keys without finite values are left out.
    """
    return {
        series.key: point
        for series in (read([run], list(directions), width=WIDTH) if directions else ())
        if (point := _best(run, series, directions[series.key])) is not None
    }


def _best(run: Run, series: ChartSeries, better: Better) -> BestPoint | None:
    for _ in range(MOST_READINGS):
        index = _index_of_best(series, better)
        if index is None:
            return None
        point = BestPoint(round(series.x[index]), _extremes(series, better)[index])
        if series.points == series.count:
            return point
        # A bucket lies between the average positions of its neighbours.
        start = series.x[index - 1] if index else None
        stop = series.x[index + 1] if index + 1 < len(series.x) else None
        finer = read([run], [series.key], start=start, stop=stop, width=WIDTH)
        if not finer or finer[0].count >= series.count:
            return point
        series = finer[0]
    return point


def _extremes(series: ChartSeries, better: Better) -> list[float]:
    return series.max if better == "higher" else series.min


def _index_of_best(series: ChartSeries, better: Better) -> int | None:
    """Return the first index of the best finite extreme; None if no value is finite."""
    sign = 1 if better == "higher" else -1
    finite = [
        (-sign * value, index)
        for index, value in enumerate(_extremes(series, better))
        if math.isfinite(value)
    ]
    return min(finite)[1] if finite else None
