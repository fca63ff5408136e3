"""Installations whose points were rows of their own lose nothing by `migrate`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tests.webapp.logs import losses
from webapp.runs.event_rows import moment
from webapp.runs.models import Attempt, Event, Run
from webapp.series import series_store
from webapp.series.models import Level, Series
from webapp.series.storage.buckets import pack_buckets, unpack_buckets

POINTS = """
INSERT INTO metrics_point (run_id, attempt, seq, key, step, value, tokens, compute, wall_time, news)
SELECT %s, %s, 2 * n, key, n, CASE WHEN n = 7 THEN 'NaN' ELSE n / 8.0 END, 10 * n, n, 1000 + n,
    n / 100 + 1
FROM generate_series(1, %s) AS n, unnest(%s::text[]) AS key
"""


LATEST = "0006_drop_levels_after_a_gap"


def migrate(name: str) -> None:
    MigrationExecutor(connection).migrate([("metrics", name)])


@pytest.fixture
def _before(transactional_db: None) -> Iterator[None]:
    migrate("0001_initial")
    yield
    migrate(LATEST)


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
    migrate(LATEST)
    migrate(LATEST)
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


@pytest.mark.django_db(transaction=True)
def test_levels_with_points_in_wrong_buckets_are_made_again(run: Run) -> None:
    """A run whose steps jumped far: levels of 2^6 and 2^8 steps, and much coarser ones."""

    def log(first: int, last: int, seq: int) -> None:
        run.refresh_from_db()
        series_store.append(run, 1, losses(first, last, seq), run.batch_count)

    def drawn() -> series_store.ChartSeries:
        (series,) = series_store.read([run], ["loss"], width=20)
        return series

    far = 10**9
    Attempt.objects.create(run=run, number=1, last_seq=36_000)
    log(1, 33_000, 1)
    log(far, far + 1_500, 33_001)
    levels, right = Series.objects.get(run=run).levels, drawn()
    assert levels > 2**9 and levels & (2**9 - 1) == 2**6 | 2**8
    # What is at a wrong index is missing at its own.
    for level in Level.objects.filter(bits__gt=8):
        level.data = pack_buckets(unpack_buckets(bytes(level.data)).take(slice(0, 1)))
        level.save(update_fields=["data"])
    assert drawn().count < right.count
    before = run.batch_count
    migrate("0005_rename_columns")
    migrate(LATEST)
    run.refresh_from_db()
    assert (drawn(), run.batch_count) == (right, before + 1)
    assert Series.objects.get(run=run).levels == 2**6 | 2**8
    log(far + 1_501, far + 3_000, 34_502)
    assert Series.objects.get(run=run).levels == levels
    assert drawn().x == pytest.approx([16_500.5, far + 1_500])
