"""Processes die in the middle of a run: nothing recorded is lost or doubled, and the page says what happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from trainer.engine.events import read
from webapp import metrics
from webapp.runs import lifecycle
from webapp.runs.models import Run, State
from webapp.teams.models import Team
from workers import sweep
from workers.placement import place
from workers.trainer_process import REPOSITORY

from .conftest import definition, exits, log_of, over, process_of, recorded_sequences, start, trained, until

TOTAL_STEPS = 24


def losses(run: Run) -> dict[float, float]:
    """The drawn curve: step → loss. A doubled step would show as a count above the number of steps."""
    [series] = metrics.read([run], ["loss"], width=10_000)
    assert len(series.x) == len(set(series.x))
    return dict(zip(series.x, series.mean, strict=True))


def assert_complete(run: Run) -> None:
    """What Postgres holds of each attempt is what its log holds, and the curve has every step once."""
    for attempt in range(1, run.attempt + 1):
        assert recorded_sequences(run, attempt) == {event["seq"] for event in read(log_of(run, attempt))}
    assert list(losses(run)) == list(range(1, TOTAL_STEPS + 1))


def supervisor_of(run: Run) -> psutil.Process:
    """The process that carries the run's log."""
    wanted = ["supervise", run.public_id]
    return until(lambda: next((p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [])[3:5] == wanted), None))


def over_after(work: Callable[[], None], run: Run) -> bool:
    work()
    return over(run)


def test_a_run_goes_from_the_queue_to_its_end(team: Team) -> None:
    run = start(team)
    until(lambda: over(run))
    assert (run.state, run.step, run.total_steps) == (State.COMPLETED, TOTAL_STEPS, TOTAL_STEPS), run.reason
    assert_complete(run)
    assert [row.state for row in run.transitions.order_by("pk")] == ["queued", "starting", "running", "completed"]
    assert [ended["code"] for ended in exits(run) if ended] == [0]


def test_after_a_killed_trainer_the_run_is_resumed_on_the_same_curve(team: Team) -> None:
    undisturbed = start(team)
    run = start(team)
    until(trained(run, 9))
    os.kill(process_of(run).pid() or 0, signal.SIGKILL)
    until(lambda: over(run))
    assert run.state == State.FAILED
    assert "signal 9 (SIGKILL)" in run.reason and "Resume" in run.remedy

    lifecycle.resume(run)
    until(lambda: place(run.pk) or run.state != State.QUEUED)
    until(lambda: over(run))
    assert (run.state, run.attempt) == (State.COMPLETED, 2), run.reason
    assert_complete(run)
    until(lambda: over(undisturbed))
    assert losses(run) == losses(undisturbed), "a resumed run gives the numbers of one that was never interrupted"


def test_a_killed_supervisor_is_replaced_and_the_trainer_never_notices(team: Team) -> None:
    run = start(team)
    until(trained(run, 3))
    supervisor_of(run).kill()
    trainer = process_of(run).pid()
    assert trainer, "the trainer outlives its supervisor"
    until(lambda: over_after(sweep.adopt_orphans, run))
    assert (run.state, run.attempt) == (State.COMPLETED, 1), run.reason
    assert_complete(run)


def test_a_trainer_that_vanished_with_its_watcher_is_resumed_by_itself(team: Team) -> None:
    """As after a restart of the machine: nobody is left to tell how it ended."""
    run = start(team)
    until(trained(run, 9))
    trainer = psutil.Process(process_of(run).pid())
    shim = trainer.parent()
    assert shim is not None
    shim.kill()
    trainer.kill()
    until(lambda: over_after(sweep.sweep, run))
    assert (run.state, run.attempt) == (State.COMPLETED, 2), run.reason
    assert any("disappeared" in row.reason for row in run.transitions.all())
    assert_complete(run)


def test_a_stop_leaves_a_checkpoint_from_which_the_run_goes_on(team: Team) -> None:
    run = start(team)
    until(trained(run, 2))
    lifecycle.request_stop(run)
    until(lambda: over(run))
    assert run.state == State.STOPPED, run.reason
    assert run.checkpoints.filter(step=run.step).exists()
    lifecycle.resume(run)
    assert place(run.pk)
    until(lambda: over(run))
    assert (run.state, run.attempt) == (State.COMPLETED, 2), run.reason
    assert_complete(run)


def test_a_forced_stop_ends_the_run_at_once_and_is_no_failure(team: Team) -> None:
    run = start(team)
    until(trained(run, 2))
    lifecycle.request_stop(run, force=True)
    until(lambda: over(run))
    assert run.state == State.STOPPED and "force" in run.reason


def test_a_newer_attempt_shuts_an_older_one_out(team: Team) -> None:
    run = start(team)
    until(trained(run, 2))
    trainer = process_of(run)
    Run.objects.filter(pk=run.pk).update(attempt=2)
    until(lambda: trainer.pid() is None)
    run.refresh_from_db()
    assert run.state == State.RUNNING, "the old attempt may not end the run"
    Run.objects.filter(pk=run.pk).update(state=State.FAILED)


@pytest.mark.parametrize(
    ("model", "said"),
    [("file:/nowhere/at/all", "not under a folder"), ("model:gone@123", "no model"), ("builtin:nobody", "nobody")],
)
def test_a_model_that_cannot_be_had_ends_the_run_with_a_sentence(team: Team, model: str, said: str) -> None:
    run = start(team, networks={"student": {"model": model}})
    until(lambda: over(run))
    assert run.state == State.FAILED and said in run.reason and run.remedy


def test_a_killed_celery_worker_does_not_disturb_its_runs(team: Team) -> None:
    """The real worker, woken through real Redis."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "--pool", "solo", "-Q", "runs"],
        cwd=REPOSITORY,
        start_new_session=True,
    )
    try:
        run = lifecycle.create_run(team, None, definition())
        until(trained(run, 2))
        worker.kill()
        until(lambda: over(run))
        assert (run.state, run.attempt) == (State.COMPLETED, 1), run.reason
        assert_complete(run)
    finally:
        worker.kill()
        worker.wait()
