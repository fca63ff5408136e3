"""A run with many series costs as many statements as one with few."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from webapp.runs.models import Run
from webapp.series import series_store

pytestmark = pytest.mark.django_db


def rows(steps: range, width: int) -> list[dict[str, Any]]:
    """Values by content, all at one time: each may repeat a stored one."""
    values = {f"k{index}": float(index) for index in range(width)}
    return [{"step": step, "wall_time": 1000.0, "values": values} for step in steps]


def statements(run: Run, width: int) -> tuple[int, int]:
    """The statements of an append that folds, and of a read of all series, some of them folded."""
    counts = []
    for index, steps in enumerate((range(1100), range(1090, 2300))):
        with CaptureQueriesContext(connection) as queries, transaction.atomic():
            series_store.append(run, 1, rows(steps, width), index + 1, "content")
        counts.append(len(queries))
    series_store.append(run, 1, rows(range(2290, 2310), width), 3, "content")
    with CaptureQueriesContext(connection) as queries:
        points = series_store.last_points([run])[run.pk]
    assert {key: (point.step, point.value) for key, point in points.items()} == {
        f"k{index}": (2309, float(index)) for index in range(width)
    }
    assert series_store.point_counts(run, ["k0"]) == {"k0": 2310}
    return max(counts), len(queries)


def test_folding_and_reading_cost_the_same_statements_for_any_number_of_series(run: Run) -> None:
    other = Run.objects.create(team=run.team, name="wide", source=Run.Source.CLIENT)
    other.attempts.create(number=1, last_seq=1)
    run.attempts.update_or_create(number=1, defaults={"last_seq": 1})
    assert statements(run, 2) == statements(other, 60)
