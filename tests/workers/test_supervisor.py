"""A supervisor whose trainer has exited and whose log was recorded by an earlier supervisor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.events import EventLog, read
from webapp.access.models import Team
from webapp.ingest.event_log import ingest
from webapp.runs import leases, lifecycle
from webapp.runs.models import Run, State
from workers.attempt.exit_recorder import write_atomically
from workers.attempt.supervisor_start import supervise
from workers.machine import host

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(settings: Any, tmp_path: Path) -> Run:
    """Return an active run whose trainer has exited; it must not be started a second time."""
    settings.STILLROOM_STATE = tmp_path
    run = lifecycle.create_run(
        Team.objects.create(name="Cellar", slug="cellar"), None, {"name": "run"}
    )
    assert leases.claim(run.pk, host.name())
    folder = host.attempt_folder(run.public_id, 1)
    folder.mkdir(parents=True)
    dead_process = {"pid": 0, "started": 0.0}
    write_atomically(folder / "process.json", {"trainer": dead_process, "shim": dead_process})
    return run


def end_trainer(run: Run, end: dict[str, Any] | None, **exit: Any) -> None:
    """The trainer has end `end`, which Postgres knows, and its watcher what `exit` has, if
    anything.
    """
    folder = host.attempt_folder(run.public_id, 1)
    log = EventLog(folder / "events", 1)
    log.emit("progress", step=1, total_steps=2, stage="s", phase="training", done=1, of=2)
    if end is not None:
        log.emit("end", **end)
    log.close()
    ingest(run.pk, 1, list(read(folder / "events")), folder)
    if exit:
        write_atomically(
            folder / "exit.json",
            {"code": None, "signal": None, "out_of_memory": False, "max_rss_bytes": 0, **exit},
        )


def supervised(run: Run) -> Run:
    supervise(run.public_id, 1)
    run.refresh_from_db()
    return run


def test_the_trainers_reason_is_used_though_another_supervisor_recorded_it(run: Run) -> None:
    end = {
        "outcome": "failed",
        "reason": "The loss became NaN.",
        "remedy": "Lower the learning rate.",
        "code": 65,
    }
    end_trainer(run, end, code=65)
    assert (supervised(run).state, run.reason, run.remedy) == (
        State.FAILED,
        end["reason"],
        end["remedy"],
    )


def test_a_stop_that_an_earlier_supervisor_passed_on_is_not_a_failure(run: Run) -> None:
    lifecycle.request_stop(Run.objects.get(pk=run.pk))
    end_trainer(run, None, signal=15)
    assert supervised(run).state == State.STOPPED


def test_a_completed_run_without_exit_report_is_not_started_again(
    run: Run,
) -> None:
    end_trainer(
        run, {"outcome": "completed", "reason": "All 2 steps are done.", "remedy": "", "code": 0}
    )
    assert (supervised(run).state, run.reason, run.attempt) == (
        State.COMPLETED,
        "All 2 steps are done.",
        1,
    )
