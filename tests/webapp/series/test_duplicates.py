"""What comes twice counts once, whoever sends it and however many send at once."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from django.db import connection, transaction

from tests.webapp.logs import NOON, losses
from webapp.ingest.event_log import lock_and_count_batch
from webapp.runs.models import Attempt, Run
from webapp.series import series_store
from webapp.series.models import Series


def append(
    run: Run, rows: list[dict[str, Any]], identity: Any = "content", attempt: int = 1
) -> None:
    with transaction.atomic():
        Attempt.objects.get_or_create(run=run, number=attempt)
        series_store.append(run, attempt, rows, lock_and_count_batch(run.pk), identity)


def row(step: int, value: float, second: float) -> dict[str, Any]:
    return {"step": step, "values": {"loss": value}, "wall_time": NOON + second}


def loss(run: Run, **question: Any) -> series_store.ChartSeries:
    (series,) = series_store.read([run], ["loss"], **question)
    return series


@pytest.mark.django_db
@pytest.mark.parametrize("steps_grow", [True, False])
def test_rows_without_numbers_count_once_by_what_they_say(run: Run, steps_grow: bool) -> None:
    """As an MLflow client sends them, who repeats a request at once or long after, and whose step
    may be 0 for ever.
    """
    chance = random.Random(5)
    rows = [row(number if steps_grow else 0, chance.gauss(0, 1), number) for number in range(2000)]
    batches: list[list[dict[str, Any]]] = []
    for start in range(0, 2000, 40):
        batches.append(rows[start : start + 40])
        append(run, batches[-1])
        if chance.random() < 0.5:
            append(run, chance.choice(batches))
    assert Series.objects.filter(run=run).exists()
    wide = loss(run, width=5000, axis="time")
    assert (wide.count, wide.mean) == (2000, [logged_row["values"]["loss"] for logged_row in rows])
    narrow = loss(run, width=50, axis="time")
    assert (narrow.count, narrow.points > 25, max(narrow.max)) == (2000, True, max(wide.mean))
    assert len(list(series_store.export_rows(run))) == 2000
    before = run.batch_count
    run.refresh_from_db()
    append(run, rows[100:140])
    assert series_store.read_since(run, run.batch_count) == []
    assert before < run.batch_count


@pytest.mark.django_db
def test_another_value_at_the_same_step_and_time_counts(run: Run) -> None:
    append(run, [row(1, 2.0, 0), row(1, 3.0, 0), row(1, 3.0, 1), row(1, 2.0, 0)])
    assert sorted(loss(run).mean) == [2, 3, 3]


@pytest.mark.django_db
def test_an_attempt_keeps_its_identity(run: Run) -> None:
    append(run, [row(1, 2.0, 0)])
    with pytest.raises(ValueError, match="is logged by content"), transaction.atomic():
        append(run, losses(1, 2), "seq")


@pytest.mark.django_db
def test_numbers_that_other_events_have_leave_one_range(run: Run) -> None:
    logged = [
        event if event["seq"] % 3 else {"seq": event["seq"], "type": "log"}
        for event in losses(1, 300)
    ]
    append(run, logged, "seq")
    with connection.cursor() as cursor:
        cursor.execute("SELECT seen::text FROM metrics_log WHERE run_id = %s", [run.pk])
        assert cursor.fetchone() == ("{[1,301)}",)
    assert series_store.sequence_numbers(run, 1) == {
        number for number in range(1, 301) if number % 3
    }


@pytest.mark.django_db(transaction=True)
def test_many_writers_at_once_lose_and_double_nothing(run: Run) -> None:
    """Eight threads send overlapping parts of one log, each in an order of its own."""
    log = losses(1, 3000)
    problems: list[BaseException] = []

    def send(number: int) -> None:
        chance = random.Random(number)
        starts = [
            start for start in range(0, 3000, 50) if start % 8 == number or chance.random() < 0.3
        ]
        chance.shuffle(starts)
        try:
            for start in starts:
                append(run, log[start : start + 50], "seq")
        except BaseException as problem:
            problems.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for start in range(0, 3000, 50):
        append(run, log[start : start + 50], "seq")
    assert not problems
    series = loss(run, width=5000)
    assert series.mean == [float(step) for step in range(1, 3001)]
    assert loss(run, width=10).count == 3000
