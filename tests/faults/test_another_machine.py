"""Two machines with one database and one artifact store: when one is lost, the other resumes."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.faults import steady
from tests.faults.records import assert_complete, assert_curve, folder_on
from tests.faults.world import kill_if_alive
from webapp.access.models import Team
from webapp.nodes.models import Device
from webapp.runs import status_text
from webapp.runs.models import Attempt, Run, State
from workers.process_identity import process_started

from .conftest import Machine, everything_of, over, queued, stored, until

STEPS = 100

pytestmark = pytest.mark.usefixtures("light")


def attempt_of(tmp_path: Path, name: str, run: Run, number: int) -> Path:
    return tmp_path / name / "runs" / run.public_id / "attempts" / str(number)


def assert_resumed_elsewhere(run: Run) -> None:
    """Check that the run was resumed on birch, once, with one curve."""
    assert (run.state, run.attempt, run.restarts) == (State.COMPLETED, 2, 1), run.reason
    assert list(
        Attempt.objects.filter(run=run).order_by("number").values_list("host", flat=True)
    ) == ["alder", "birch"]
    assert_curve(run, steady.losses(5, STEPS))


def test_a_run_of_a_lost_machine_resumes_elsewhere_from_the_last_stored_checkpoint(
    team: Team, machine: Machine, tmp_path: Path
) -> None:
    run = queued(team, steps=STEPS)
    alder = machine("alder")
    until(stored(run, 10))
    machine("birch")
    for process in everything_of(alder):
        kill_if_alive(process)
    until(lambda: over(run))
    assert_resumed_elsewhere(run)
    checkpoint = (
        run.checkpoints.filter(attempt=1).order_by("-step").values_list("step", flat=True)[0]
    )
    text = status_text.resumption_of(run)
    assert (
        "alder was lost: it has not been heard of since" in text
        and f"on birch from step {checkpoint}" in text
    )
    assert "alder" in text.rpartition("What ")[2], (
        "what the lost machine had not sent is said to be missing"
    )
    keys = Device.objects.filter(node__name="alder").values_list("allocated_to", flat=True)
    assert list(keys) == [f"run/{run.public_id}/1"], (
        "nobody knows whether the machine still works on it"
    )


def test_a_suspended_machine_stops_its_trainer_and_changes_only_its_own_attempt(
    team: Team, machine: Machine, tmp_path: Path
) -> None:
    run = queued(team, steps=STEPS)
    alder = machine("alder")
    until(stored(run, 10))
    suspended = everything_of(alder)
    for process in suspended:
        process.suspend()
    machine("birch")
    until(lambda: over(run))
    assert_resumed_elsewhere(run)
    for process in reversed(suspended):
        process.send_signal(signal.SIGCONT)

    trainer = json.loads((attempt_of(tmp_path, "alder", run, 1) / "process.json").read_text())[
        "trainer"
    ]
    until(lambda: process_started(trainer["pid"]) != trainer["started"])
    until(lambda: not Device.objects.exclude(allocated_to="").exists())
    assert_complete(run, folder_on(tmp_path))
    run.refresh_from_db()
    assert_resumed_elsewhere(run)
