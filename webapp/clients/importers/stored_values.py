"""Values of files that a run has already, compared by their content."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from webapp.clients.client_batch import LoggedValues
from webapp.runs.models import Run
from webapp.series import series_store

Point = tuple[str, int, int, bytes]


def without_stored(run: Run, logs: Sequence[LoggedValues]) -> list[LoggedValues]:
    """Return those of `logs` of which the run does not have every value, on any of its branches.

    A value is the same if key, step, time (in milliseconds) and value are.
    """
    points = {point for log in logs for point in _points(log)}
    # Only points of `logs` are collected, because the run may have far more than fit in memory.
    stored_points: set[Point] = set()
    names = sorted({name for name, *_ in points})
    for _, step, name, value, _, _, wall_time in series_store.export_rows(
        run, names, abandoned=True
    ):
        stored_points.update(points.intersection([_point(name, step, wall_time, value)]))
    return [log for log in logs if not stored_points.issuperset(_points(log))]


def _points(log: LoggedValues) -> list[Point]:
    return [_point(name, log.step or 0, log.wall_time, value) for name, value in log.values.items()]


def _point(name: str, step: int, wall_time: float, value: float) -> Point:
    # Values as bytes, because NaN is not equal to itself.
    return name, step, round(wall_time * 1000), struct.pack("<d", value)
