"""A supervisor that finds its attempt's trainer ended already, and the log carried to its end by
one that has died since.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.events import EventLog, read
from webapp.access.models import Team
from webapp.ingest.event_log import ingest
from webapp.runs import leases, lifecycle
from webapp.runs.models import Run, State
from workers.attempt.shim import write_atomically
from workers.attempt.supervisor_start import supervise
from workers.machine import host

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(settings: Any, tmp_path: Path) -> Run:
    """At work here; its trainer, which has ended, is not to be started a second time."""
    settings.STILLROOM_STATE = tmp_path
    run = lifecycle.create_run(
        Team.objects.create(name="Cellar", slug="cellar"), None, {"name": "run"}
    )
    assert leases.claim(run.pk, host.name())
    folder = host.attempt_folder(run.public_id, 1)
    folder.mkdir(parents=True)
    nobody = {"pid": 0, "started": 0.0}
    write_atomically(folder / "process.json", {"trainer": nobody, "shim": nobody})
    return run


def leave(run: Run, end: dict[str, Any] | None, **exit: Any) -> None:
    """The trainer has said `end`, which Postgres knows, and its watcher what `exit` has, if
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


def concluded(run: Run) -> Run:
    supervise(run.public_id, 1)
    run.refresh_from_db()
    return run


def test_it_tells_the_trainers_reason_though_it_has_not_read_it(run: Run) -> None:
    said = {
        "outcome": "failed",
        "reason": "The loss became NaN.",
        "remedy": "Lower the learning rate.",
        "code": 65,
    }
    leave(run, said, code=65)
    assert (concluded(run).state, run.reason, run.remedy) == (
        State.FAILED,
        said["reason"],
        said["remedy"],
    )


def test_a_stop_that_another_one_has_passed_on_is_no_failure(run: Run) -> None:
    lifecycle.request_stop(Run.objects.get(pk=run.pk))
    leave(run, None, signal=15)
    assert concluded(run).state == State.STOPPED


def test_a_run_that_said_it_is_complete_is_not_begun_again_because_nobody_saw_its_end(
    run: Run,
) -> None:
    leave(run, {"outcome": "completed", "reason": "All 2 steps are done.", "remedy": "", "code": 0})
    assert (concluded(run).state, run.reason, run.attempt) == (
        State.COMPLETED,
        "All 2 steps are done.",
        1,
    )
