"""Processes die during a run: nothing is lost or recorded twice, and the page names the cause."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from tests.faults import records
from webapp.access.models import Team
from webapp.runs import lifecycle
from webapp.runs.models import Run, State
from webapp.series import series_store
from workers import periodic_recovery
from workers.attempt.trainer_process import REPOSITORY

from .conftest import (
    assert_undisturbed_record,
    definition,
    exits,
    over,
    process_of,
    queued,
    send_signal,
    started,
    trained,
    until,
)

TOTAL_STEPS = 24


def losses(run: Run) -> dict[float, float]:
    """The drawn curve: step → loss. A doubled step would show as a count above the number of
    steps.
    """
    [series] = series_store.read([run], ["loss"], width=10_000)
    assert len(series.x) == len(set(series.x))
    return dict(zip(series.x, series.mean, strict=True))


def over_after(work: Callable[[], None], run: Run) -> bool:
    work()
    return over(run)


def steady_run(team: Team, steps: int = 60) -> Run:
    return started(queued(team, steps))


def test_a_run_that_is_stopped_and_later_killed_has_the_same_curve(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real trainer, compared with an undisturbed run."""
    undisturbed = started(lifecycle.create_run(team, None, definition()))

    monkeypatch.setenv("STILLROOM_TRAINER", f"{sys.executable} -m tests.faults.disturbed")
    monkeypatch.setenv("WAIT_AFTER_STEP", "3")
    run = started(lifecycle.create_run(team, None, definition()))
    until(trained(run, 3))
    lifecycle.request_stop(run)
    until(lambda: over(run))
    assert run.state == State.STOPPED, run.reason
    assert run.checkpoints.filter(step=run.step).exists()

    monkeypatch.setenv("WAIT_AFTER_STEP", "10")
    lifecycle.resume(run)
    started(run)
    until(trained(run, 10))
    send_signal(process_of(run), signal.SIGKILL)
    until(lambda: over(run))
    assert run.state == State.FAILED
    assert "signal 9 (SIGKILL)" in run.reason and "Resume" in run.remedy

    monkeypatch.delenv("STILLROOM_TRAINER")
    lifecycle.resume(run)
    started(run)
    until(lambda: over(run))
    assert (run.state, run.attempt, run.step, run.total_steps) == (
        State.COMPLETED,
        3,
        TOTAL_STEPS,
        TOTAL_STEPS,
    ), run.reason
    until(lambda: over(undisturbed))
    assert [row.state for row in undisturbed.transitions.order_by("pk")] == [
        "queued",
        "starting",
        "running",
        "completed",
    ]
    assert [exit["code"] for exit in exits(undisturbed) if exit] == [0]
    for record in (run, undisturbed):
        records.assert_complete(record)
        assert list(losses(record)) == list(range(1, TOTAL_STEPS + 1))
    assert losses(run) == losses(undisturbed), (
        "a resumed run gives the numbers of one that was never interrupted"
    )


@pytest.mark.usefixtures("light")
def test_a_killed_supervisor_is_replaced_while_the_trainer_continues(team: Team) -> None:
    run = steady_run(team)
    until(trained(run, 3))
    arguments = ["supervise", run.public_id]
    [supervisor] = [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [])[3:5] == arguments
    ]
    supervisor.kill()
    assert process_of(run).pid(), "the trainer outlives its supervisor"
    until(lambda: over_after(periodic_recovery.adopt_orphans, run))
    assert_undisturbed_record(run, attempts=1)


@pytest.mark.usefixtures("light")
def test_a_trainer_that_vanished_with_its_exit_recorder_is_resumed_automatically(
    team: Team,
) -> None:
    """This happens after a restart of the machine: there is no exit report."""
    run = steady_run(team)
    until(trained(run, 12))
    trainer = psutil.Process(process_of(run).pid())
    recorder = trainer.parent()
    assert recorder is not None
    recorder.kill()
    trainer.kill()
    until(lambda: over_after(periodic_recovery.sweep, run))
    assert_undisturbed_record(run, attempts=2)
    assert any("disappeared" in row.reason for row in run.transitions.all())


@pytest.mark.usefixtures("light")
def test_a_forced_stop_ends_the_run_at_once_and_is_not_a_failure(team: Team) -> None:
    run = steady_run(team, steps=10_000)
    until(trained(run, 2))
    lifecycle.request_stop(run, force=True)
    until(lambda: over(run))
    assert run.state == State.STOPPED and "force" in run.reason


@pytest.mark.usefixtures("light")
def test_a_newer_attempt_fences_an_older_one(team: Team) -> None:
    run = steady_run(team, steps=10_000)
    until(trained(run, 2))
    trainer = process_of(run)
    Run.objects.filter(pk=run.pk).update(attempt=2)
    until(lambda: trainer.pid() is None)
    run.refresh_from_db()
    assert run.state == State.RUNNING, "the old attempt may not end the run"
    Run.objects.filter(pk=run.pk).update(state=State.FAILED)


@pytest.mark.parametrize(
    ("model", "reason"),
    [("file:/nowhere/at/all", "may read"), ("model:gone@123", "does not have")],
)
def test_a_missing_model_fails_the_run_with_a_reason(team: Team, model: str, reason: str) -> None:
    run = started(
        lifecycle.create_run(team, None, definition(networks={"student": {"model": model}}))
    )
    until(lambda: over(run))
    assert run.state == State.FAILED and reason in run.reason and run.remedy


@pytest.mark.usefixtures("light")
def test_a_killed_celery_worker_does_not_disturb_its_runs(team: Team) -> None:
    """The real worker, notified through real Redis."""
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "workers.app",
            "worker",
            "--pool",
            "solo",
            "-Q",
            "runs",
        ],
        cwd=REPOSITORY,
        start_new_session=True,
    )
    try:
        run = queued(team, 60)
        until(trained(run, 2))
        worker.kill()
        until(lambda: over(run))
        assert_undisturbed_record(run, attempts=1)
    finally:
        worker.kill()
        worker.wait()
