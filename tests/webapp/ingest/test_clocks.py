"""Clocks of hosts may be hours apart, and somebody may set one while runs are active."""

from __future__ import annotations

import io
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tests.webapp.logs import event, losses
from webapp.access.models import Team
from webapp.base import database_clock
from webapp.ingest.event_log import ingest
from webapp.library import artifacts
from webapp.library.models import Artifact
from webapp.nodes import queue
from webapp.pages.templatetags import figures
from webapp.runs import leases, lifecycle, status_text
from webapp.runs.models import Attempt, Run, State, Transition

pytestmark = pytest.mark.django_db
HOUR = 3600.0
OFF = [-2 * HOUR, 2 * HOUR]
SECOND = timedelta(seconds=1)


def at(age: float, shift: float, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events as a trainer wrote them `age` seconds ago, by a wall clock that is `shift` off."""
    times = {
        "wall_time": time.time() - age + shift,
        "monotonic": max(0.0, time.monotonic() - age),
    }
    return [{**event, **times} for event in events]


@pytest.fixture(params=OFF)
def clock_of_this_host_is_off(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if this process ran on a host whose clock is hours behind or ahead of the database's."""
    real_now, real_time = timezone.now, time.time
    monkeypatch.setattr(database_clock, "_reading", None)
    monkeypatch.setattr(timezone, "now", lambda: real_now() + timedelta(seconds=request.param))
    monkeypatch.setattr(time, "time", lambda: real_time() + request.param)


def database_time() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


def is_about(moment: datetime | None, expected: datetime) -> bool:
    """Hours are told from moments; how fast this machine is plays no part."""
    return moment is not None and abs(moment - expected) < timedelta(minutes=20)


@pytest.mark.parametrize("shift", OFF)
def test_a_trainer_whose_clock_is_off_is_not_called_silent(
    claimed: Run, tmp_path: Path, shift: float
) -> None:
    ingest(claimed.pk, 1, at(0, shift, losses(1, 3)), tmp_path)
    claimed.refresh_from_db()

    assert is_about(claimed.last_event_at, database_time())
    assert not status_text.is_silent(claimed)


@pytest.mark.parametrize("shift", OFF)
def test_a_silent_trainer_is_noticed_whatever_its_clock_says(
    claimed: Run, tmp_path: Path, shift: float
) -> None:
    ingest(claimed.pk, 1, at(1800, shift, losses(1, 3)), tmp_path, more=True)
    claimed.refresh_from_db()

    assert status_text.is_silent(claimed)
    assert is_about(claimed.last_event_at, database_time() - timedelta(seconds=1800))
    assert 1800 <= claimed.summary["behind_s"] < 3000


@pytest.mark.parametrize("step", OFF)
def test_a_clock_that_is_set_between_two_batches_changes_nothing(
    claimed: Run, tmp_path: Path, step: float
) -> None:
    ingest(claimed.pk, 1, at(600, 0, losses(1, 3)), tmp_path)
    claimed.refresh_from_db()
    first = claimed.last_event_at
    ingest(claimed.pk, 1, at(0, step, losses(4, 6, seq=4)), tmp_path, more=True)
    claimed.refresh_from_db()

    assert first is not None and is_about(first, database_time() - timedelta(seconds=600))
    assert is_about(claimed.last_event_at, database_time())
    assert claimed.summary["behind_s"] < 1000


@pytest.mark.parametrize("step", OFF)
def test_a_clock_that_is_set_within_an_attempt_changes_no_estimate(
    claimed: Run, tmp_path: Path, step: float
) -> None:
    """Two steps a second apart before it is set, two after: 96 more take 96 s."""
    of_all = event(1, "progress", phase="training", stage="forward", done=0, of=100)
    of_all["total_steps"] = 100
    before = [of_all, *losses(1, 2, seq=2)]
    after = [{**row, "wall_time": row["wall_time"] + step} for row in losses(3, 4, seq=4)]
    for batch in (before, after, before):
        ingest(claimed.pk, 1, batch, tmp_path)
    claimed.refresh_from_db()
    assert claimed.summary["eta_s"] == 96


def test_a_time_in_the_future_of_an_earlier_version_is_corrected(
    claimed: Run, tmp_path: Path
) -> None:
    Run.objects.filter(pk=claimed.pk).update(last_event_at=timezone.now() + timedelta(hours=2))
    ingest(claimed.pk, 1, at(0, 0, losses(1, 3)), tmp_path)
    claimed.refresh_from_db()

    assert is_about(claimed.last_event_at, database_time())


def test_after_a_restart_of_the_host_the_wall_clock_tells_the_age(
    claimed: Run, tmp_path: Path
) -> None:
    """The monotonic clock starts again at zero, so that the events seem to be of the future."""
    events = [{**event, "monotonic": time.monotonic() + 1e6} for event in at(HOUR, 0, losses(1, 3))]
    ingest(claimed.pk, 1, events, tmp_path)
    claimed.refresh_from_db()

    assert is_about(claimed.last_event_at, database_time() - timedelta(hours=1))


@pytest.mark.parametrize("monotonic", ["soon", None, float("nan"), float("inf"), -1e300, True])
def test_a_strange_monotonic_time_is_no_error(
    claimed: Run, tmp_path: Path, monotonic: object, caplog: pytest.LogCaptureFixture
) -> None:
    ingest(
        claimed.pk, 1, [{**line, "monotonic": monotonic} for line in losses(1, 3)], tmp_path, True
    )
    claimed.refresh_from_db()

    assert claimed.step == 3 and claimed.last_event_at is not None
    assert "could not be updated" not in caplog.text


def test_an_imported_run_keeps_its_own_times(still: Team, tmp_path: Path) -> None:
    run = lifecycle.create_run(
        still, None, None, name="old", source=Run.Source.IMPORTED, state=State.STOPPED
    )
    Attempt.objects.create(run=run, number=1)
    Run.objects.filter(pk=run.pk).update(attempt=1)
    ingest(run.pk, 1, [event(1, "log", level="info", message="begun"), *losses(1, 2, 2)], tmp_path)
    run.refresh_from_db()

    assert run.last_event_at is not None
    assert run.last_event_at.timestamp() == event(3, "log")["wall_time"]


def test_pages_on_a_host_whose_clock_is_off_show_the_right_ages(
    claimed: Run, tmp_path: Path, clock_of_this_host_is_off: None
) -> None:
    ingest(claimed.pk, 1, at(0, 0, losses(1, 3)), tmp_path)
    claimed.refresh_from_db()

    assert not status_text.is_silent(claimed)
    assert " h ago" not in str(figures.age(claimed.started_at))


def test_the_times_of_a_run_are_of_one_clock_wherever_they_are_written(
    run: Run, clock_of_this_host_is_off: None
) -> None:
    """Web, placing worker and leading machine write them, each with a clock of its own."""
    created = lifecycle.clone(run, run.team, run.owner)
    leases.claim(created.pk, "there")
    lifecycle.request_stop(Run.objects.get(pk=created.pk))
    leases.finish(created.pk, 1, State.STOPPED)
    created.refresh_from_db()
    attempt = Attempt.objects.get(run=created)
    times = [
        *(created.created_at, created.queued_at, created.started_at, created.finished_at),
        *(created.stop_requested_at, attempt.started_at, attempt.finished_at),
        *Transition.objects.filter(run=created).values_list("at", flat=True),
    ]

    assert all(is_about(moment, database_time()) for moment in times)
    assert (status_text.duration_of(created) or 0) >= 0


def test_a_host_whose_clock_is_ahead_calls_no_waiting_run_overdue(
    run: Run, clock_of_this_host_is_off: None
) -> None:
    Run.objects.filter(pk=run.pk).update(queued_at=database_time() - queue.OVERDUE / 2)
    assert not any(waiting.overdue for waiting in queue.waiting_runs())

    Run.objects.filter(pk=run.pk).update(queued_at=database_time() - 2 * queue.OVERDUE)
    assert all(waiting.overdue for waiting in queue.waiting_runs())


def test_a_host_whose_clock_is_ahead_deletes_no_new_artifact(
    still: Team, clock_of_this_host_is_off: None
) -> None:
    artifact = artifacts.put(io.BytesIO(b"new"), still)
    assert artifacts.collect() == 0
    assert artifacts.holds(still, artifact.sha256)

    Artifact.objects.update(stored_at=database_time() - timedelta(hours=1, minutes=20))
    assert artifacts.collect() == 1
