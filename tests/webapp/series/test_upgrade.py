"""Installations whose points were rows of their own lose nothing by `migrate`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from webapp.runs.event_rows import moment
from webapp.runs.models import Attempt, Event, Run
from webapp.series import series_store

POINTS = """
INSERT INTO metrics_point (run_id, attempt, seq, key, step, value, tokens, compute, wall_time, news)
SELECT %s, %s, 2 * n, key, n, CASE WHEN n = 7 THEN 'NaN' ELSE n / 8.0 END, 10 * n, n, 1000 + n,
    n / 100 + 1
FROM generate_series(1, %s) AS n, unnest(%s::text[]) AS key
"""


def migrate(name: str) -> None:
    MigrationExecutor(connection).migrate([("metrics", name)])


@pytest.fixture
def _before(transactional_db: None) -> Iterator[None]:
    migrate("0001_initial")
    yield
    migrate("0005_rename_columns")


@pytest.mark.usefixtures("_before")
@pytest.mark.django_db(transaction=True)
def test_points_become_series(run: Run) -> None:
    for number, last in ((1, 10_000), (2, 500)):
        Attempt.objects.create(run=run, number=number, last_seq=2 * last)
        with connection.cursor() as cursor:
            cursor.execute(POINTS, [run.pk, number, last, ["loss", "grad_norm"]])
    Event.objects.create(
        run=run,
        attempt=2,
        seq=1,
        type="rewind",
        step=0,
        wall_time=moment(0),
        payload={},
        batch_number=1,
    )
    migrate("0005_rename_columns")
    migrate("0005_rename_columns")
    assert len(list(series_store.export_rows(run, abandoned=True))) == 2 * 10_500
    (series,) = series_store.read([run], ["loss"], width=1000)
    assert (series.x, series.mean[7:]) == (
        [float(n) for n in range(1, 501)],
        [n / 8 for n in range(8, 501)],
    )
    assert series.marks[0][0] == 7
    repetition = {"seq": 2, "step": 1, "values": {"loss": 9.0}, "wall_time": 0.0}
    series_store.append(run, 2, [repetition, {"seq": 1, "type": "rewind"}], 999)
    assert series_store.read([run], ["loss"])[0].count == 500
    assert series_store.read_since(run, 0) is None
