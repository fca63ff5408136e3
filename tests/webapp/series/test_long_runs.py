"""Long series: what is drawn stays where it is, nothing that was seen is lost by tidying, and what
is dropped is said.
"""

from __future__ import annotations

import datetime
import io
import math
from typing import Any

import pyarrow.parquet
import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from tests.webapp.logs import NOON
from tests.webapp.logs import metrics as logged
from webapp.runs.event_rows import moment
from webapp.runs.models import Attempt, Event, Run, State
from webapp.series import series_store
from webapp.series.models import Axis, Batch, Chunk, Level

pytestmark = pytest.mark.django_db


def value(step: int) -> float:
    return (
        math.nan if step % 5000 == 77 else 1e6 if step == 7_777 else math.sin(step / 500) + step % 7
    )


def log(first: int, last: int, seq: int = 1) -> list[dict[str, Any]]:
    """A loss at each step, and an evaluation at every hundredth."""
    keys = {step: ("loss", "eval") if step % 100 == 0 else ("loss",) for step in range(first, last)}
    return [
        logged(seq + step - first, step, "forward", **dict.fromkeys(keys[step], value(step)))
        for step in range(first, last)
    ]


def train(
    run: Run, last: int, first: int = 0, attempt: int = 1, seq: int = 1, batch: int = 700
) -> None:
    Attempt.objects.update_or_create(run=run, number=attempt, defaults={"last_seq": last})
    for start in range(first, last, batch):
        run.batch_count += 1
        series_store.append(
            run, attempt, log(start, min(last, start + batch), seq + start - first), run.batch_count
        )
    run.save(update_fields=["batch_count"])


def rewind(run: Run, attempt: int, step: int, seq: int = 0) -> None:
    Event.objects.create(
        run=run,
        attempt=attempt,
        seq=seq,
        type="rewind",
        step=step,
        wall_time=moment(NOON),
        payload={},
        batch_number=run.batch_count,
    )


def loss(run: Run, **question: Any) -> series_store.ChartSeries:
    (series,) = series_store.read([run], ["loss"], **question)
    return series


def told(run: Run) -> list[Any]:
    """What pages ask, at several widths, ranges and axes. As text, because NaN does not equal
    itself; means to nine digits.
    """
    run.started_at = moment(NOON)
    questions: list[dict[str, Any]] = [
        {"axis": axis, "width": width}
        for axis in ("step", "tokens", "time")
        for width in (7, 100, 40_000)
    ]
    questions += [{"start": 5_003, "stop": 17_001, "width": width} for width in (20, 500)]
    all_series = [
        series for question in questions for series in series_store.read([run], None, **question)
    ]
    columns = [
        [
            f"{number:.9g}"
            for number in (*series.x, *series.mean, *series.min, *series.max, *series.last)
        ]
        for series in all_series
    ]
    marks = [
        (series.key, series.count, series.attempts, repr(series.marks)) for series in all_series
    ]
    return [
        columns,
        marks,
        series_store.keys(run),
        repr(series_store.latest(run, ["loss", "eval"])),
        repr(list(series_store.export_rows(run, ["eval"]))),
    ]


def test_what_is_drawn_does_not_move_while_a_run_grows(run: Run) -> None:
    """At one width of buckets all that are complete stay as they are, wherever the run has got
    to.
    """
    complete_by_size: dict[int, dict[int, tuple[object, ...]]] = {}
    for last in (9_000, 9_400, 12_345, 16_000, 20_001):
        train(run, last, first=run.step, seq=run.step + 1, batch=333)
        run.step = last
        series = loss(run, width=150)
        size = 64 if last <= 9_600 else 128 if last <= 19_200 else 256
        columns = zip(series.x, series.mean, series.min, series.max, series.last, strict=True)
        buckets = {
            int(x) // size: (x, *(f"{number:.9g}" for number in values)) for x, *values in columns
        }
        assert list(buckets) == list(range(-(-last // size)))
        complete = {
            index: bucket for index, bucket in buckets.items() if (index + 1) * size <= last
        }
        for index, bucket in complete_by_size.get(size, {}).items():
            assert buckets[index] == bucket
        complete_by_size[size] = complete


def test_a_spike_of_one_step_survives_every_zoom(run: Run) -> None:
    train(run, 20_000)
    assert Level.objects.filter(series__run=run).exists()
    for width in (1, 10, 333, 5000):
        assert max(loss(run, width=width).max) == 1e6
    for start, stop in ((0, 20_000), (7_000, 8_000), (7_770, 7_779), (7_777, 7_777)):
        assert max(loss(run, start=start, stop=stop, width=100).max) == 1e6


def test_what_is_not_a_number_is_marked_at_any_width(run: Run) -> None:
    train(run, 20_000)
    series = loss(run, width=30)
    assert [x for x, _ in series.marks] == [77, 5_077, 10_077, 15_077]
    assert [x for x, _ in loss(run, width=30, start=78, stop=15_000).marks] == [5_077, 10_077]


@pytest.mark.parametrize("last", [300, 20_000])
def test_compacting_a_finished_run_changes_nothing_that_is_told(run: Run, last: int) -> None:
    train(run, last, batch=90)
    rewind(run, 2, last - 50)
    train(run, last + 1000, first=last - 49, attempt=2, seq=2)
    before = told(run)
    Run.objects.filter(pk=run.pk).update(state=State.COMPLETED)
    call_command("compact_series")
    assert told(run) == before
    assert Batch.objects.filter(run=run).count() <= 2
    assert all(
        count >= 8192
        for count in Chunk.objects.filter(series__key="loss", series__attempt=1).values_list(
            "count", flat=True
        )
    )
    assert not Axis.objects.filter(run=run, chunk=None).exists()
    assert series_store.compact_finished() == 0


def test_a_compacted_run_may_go_on(run: Run) -> None:
    train(run, 15_000)
    series_store.compact(run)
    train(run, 20_000, first=15_000, seq=15_001)
    series = loss(run, width=50_000)
    assert series.x == [float(step) for step in range(20_000)]
    assert loss(run, width=100).count == 20_000


def test_a_chart_of_a_late_batch_is_in_order_on_the_axis_of_tokens(run: Run) -> None:
    Attempt.objects.create(run=run, number=1)
    rows = log(0, 12_000)
    for number, start in enumerate([0, 2000, 6000, 4000, 8000, 10_000], 1):
        series_store.append(run, 1, rows[start : start + 2000], number)
    before = loss(run, axis="tokens", width=50)
    series_store.compact(run)
    after = loss(run, axis="tokens", width=50)
    assert (before.count, after.count) == (12_000, 12_000)
    assert after.x == sorted(after.x)
    assert after.min == loss(run, width=50).min


def test_points_that_are_dropped_after_some_days_leave_what_charts_show(
    run: Run, settings: Any
) -> None:
    train(run, 20_000)
    settings.RAW_DAYS = 30
    ended = timezone.now() - datetime.timedelta(days=31)
    Run.objects.filter(pk=run.pk).update(state=State.COMPLETED, finished_at=ended)
    before, short = loss(run, width=100), series_store.read([run], ["eval"])
    latest, batch_count = series_store.latest(run, ["loss", "eval"]), run.batch_count
    assert series_store.compact_finished() > 0
    run.refresh_from_db()
    assert run.batch_count > batch_count
    after = loss(run, width=100)
    assert (after.x, after.min, after.max, after.count, after.thinned) == (
        before.x,
        before.min,
        before.max,
        20_000,
        64,
    )
    assert not Chunk.objects.filter(series__key="loss").exists()
    assert [series.json() for series in series_store.read([run], ["eval"])] == [
        series.json() for series in short
    ]
    assert series_store.latest(run, ["loss", "eval"]) == latest
    close = loss(run, start=7_000, stop=8_000)
    assert (close.thinned, max(close.max), close.points) == (64, 1e6, 16)
    assert len(loss(run, width=100).marks) == 4
    assert loss(run, axis="tokens", width=100).min == before.min


def test_live_deltas_reach_back_some_batches_and_then_no_further(run: Run) -> None:
    train(run, 3000, batch=5)
    (series,) = series_store.read_since(run, run.batch_count - 3, ["loss"]) or []
    assert series.x == [float(step) for step in range(2985, 3000)]
    assert series_store.read_since(run, 1) is None


def test_parquet_holds_every_point_and_abandoned_ones_if_asked(run: Run) -> None:
    train(run, 2000)
    rewind(run, 2, 1500)
    train(run, 1800, first=1501, attempt=2, seq=2)
    for abandoned, count in ((False, 1800), (True, 2000 + 299)):
        table = pyarrow.parquet.read_table(
            io.BytesIO(b"".join(series_store.export_parquet(run, ["loss"], abandoned)))
        )
        assert table.num_rows == count
        assert table.column("step").to_pylist() == sorted(table.column("step").to_pylist())
        assert repr(next(iter(series_store.export_rows(run, ["loss"], abandoned)))) == repr(
            tuple(table.slice(0, 1).to_pylist()[0].values())
        )


def test_a_run_and_all_that_belongs_to_it_can_be_deleted(run: Run) -> None:
    train(run, 20_000)
    run.delete()
    with connection.cursor() as cursor:
        for table in ("log", "batch", "series", "axis", "chunk", "level"):
            cursor.execute(f"SELECT count(*) FROM metrics_{table}")
            assert cursor.fetchone() == (0,)
