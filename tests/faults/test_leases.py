"""Leases: one host at a time executes a run, by attempt number and the database's clock."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from kombu.connection import Connection

from tests.faults.records import assert_complete, folder_on, read_log, recorded_numbers
from tests.trainer.engine.test_events import may_mount
from webapp.access.models import Team
from webapp.base import environment
from webapp.base.database_clock import database_now
from webapp.nodes import queue
from webapp.nodes.models import Device, Node
from webapp.runs import leases, lifecycle
from webapp.runs.models import Attempt, Run, State
from workers import tasks
from workers.attempt.supervisor_start import start_supervisor
from workers.attempt.trainer_process import REPOSITORY
from workers.machine import host

from .conftest import (
    Machine,
    assert_undisturbed_record,
    everything_of,
    over,
    program_of,
    queued,
    stored,
    trained,
    until,
)

HOURS = 3600
LOOKED_AT_SECONDS = 2.5  # more than the lease of two
SHIFTED_CLOCK = """
import datetime, os, time
real, shift = time.time, float(os.environ["CLOCK_SHIFT_SECONDS"])
time.time = lambda: real() + shift

class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

datetime.datetime = Shifted
"""

pytestmark = pytest.mark.usefixtures("light")


def supervisors_of(run: Run) -> list[psutil.Process]:
    """Return the living supervisors of a run."""
    arguments = ["supervise", run.public_id]
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [])[3:5] == arguments
    ]


def test_a_second_supervisor_of_an_attempt_records_nothing_twice(
    team: Team,
) -> None:
    """This can happen on a file system whose locks do not work."""
    run = queued(team, steps=60)
    assert leases.claim(run.pk, host.name())
    assert [start_supervisor(run.public_id, 1) for _ in range(5)] == [
        True,
        False,
        False,
        False,
        False,
    ]
    until(trained(run, 5))
    assert len(supervisors_of(run)) == 1
    second = subprocess.Popen(
        [sys.executable, "-m", "workers", "supervise", run.public_id, "1"], cwd=REPOSITORY
    )
    until(lambda: over(run))
    assert second.wait() == 0
    until(lambda: not supervisors_of(run))
    assert_undisturbed_record(run, attempts=1)
    assert run.transitions.filter(state=State.COMPLETED).count() == 1


def test_each_run_goes_to_one_of_two_hosts(team: Team, machine: Machine, tmp_path: Path) -> None:
    runs = [queued(team, steps=20, seed=seed) for seed in range(3)]
    machine("alder")
    machine("birch")
    for run in runs:
        until(partial(over, run))
        assert_undisturbed_record(run, attempts=1, base=tmp_path)
        assert len(list(tmp_path.glob(f"*/runs/{run.public_id}/attempts/*/process.json"))) == 1


def test_a_suspended_supervisor_does_not_change_a_run_that_another_host_took_over(
    team: Team, machine: Machine, tmp_path: Path
) -> None:
    """Its trainer still runs, in the middle of the run."""
    run = queued(team, steps=160)
    alder = machine("alder")
    until(stored(run, 10))
    suspended = [
        process for process in everything_of(alder) if {"sweep", "supervise"} & program_of(process)
    ]
    assert len(suspended) == 2
    for process in suspended:
        process.suspend()
    recorded_before = recorded_numbers(run, 1)
    machine("birch")
    until(lambda: trained(run, 0)() and run.attempt == 2 and run.state == State.RUNNING)
    before = list(run.transitions.order_by("pk").values_list("pk", flat=True))
    for process in suspended:
        process.resume()

    until(lambda: Attempt.objects.filter(run=run, number=1).exclude(finished_at=None).exists())
    until(lambda: over(run))
    assert_undisturbed_record(run, attempts=2, base=tmp_path)
    assert recorded_numbers(run, 1) > recorded_before, (
        "the later events of its trainer belong to its own attempt"
    )
    later = run.transitions.exclude(pk__in=before)
    assert {row.attempt for row in later} == {2}
    assert list(later.values_list("state", flat=True)) == [State.COMPLETED]
    until(lambda: not Device.objects.exclude(allocated_to="").exists())


def test_hosts_whose_clocks_are_hours_off_keep_their_runs_and_their_order(
    team: Team, machine: Machine, tmp_path: Path
) -> None:
    """One is three hours ahead, the other three behind.

    Each executes the run while the other watches for longer than a lease.
    """
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(SHIFTED_CLOCK)
    ahead, behind = (
        {"PYTHONPATH": str(tmp_path / "clock"), "CLOCK_SHIFT_SECONDS": str(hours * HOURS)}
        for hours in (3, -3)
    )
    alder = machine("alder", **ahead)
    machine("birch", **behind)
    until(lambda: set(queue.live_nodes().values_list("name", flat=True)) == {"alder", "birch"})
    Node.objects.filter(name="birch").update(draining=True)
    run = queued(team, steps=200)
    goes_on_for(run, LOOKED_AT_SECONDS)
    assert (run.attempt, run.restarts, run.lease_holder) == (1, 0, "alder"), (
        "its lease is as good as any"
    )

    Node.objects.filter(name="alder").update(draining=True)
    Node.objects.filter(name="birch").update(draining=False)
    [trainer] = [
        process for process in everything_of(alder) if "tests.faults.steady" in program_of(process)
    ]
    trainer.kill()
    until(lambda: over(run))
    lifecycle.resume(run)
    until(lambda: trained(run, 0)() and run.state == State.RUNNING)
    goes_on_for(run, LOOKED_AT_SECONDS)
    assert (run.attempt, run.restarts, run.lease_holder) == (2, 0, "birch")
    until(lambda: over(run))
    assert_undisturbed_record(run, attempts=2, base=tmp_path)
    assert list(run.attempts.order_by("number").values_list("host", flat=True)) == [
        "alder",
        "birch",
    ]
    first, second = (
        read_log(folder_on(tmp_path)(attempt))[0]["wall_time"]
        for attempt in run.attempts.order_by("number")
    )
    assert (first - second) / HOURS == pytest.approx(6, abs=0.5), "the clocks did differ"


def goes_on_for(run: Run, seconds: float) -> None:
    until(stored(run, 10))
    began = time.monotonic()
    until(lambda: trained(run, 0)() and time.monotonic() > began + seconds)
    assert run.last_event_at is not None
    assert abs((run.last_event_at - database_now()).total_seconds()) < HOURS, (
        "pages tell its silence by the clock of the database"
    )


def test_a_start_message_that_arrives_twice_starts_a_run_once(team: Team) -> None:
    """The message is delivered again after the visibility timeout, and sent again by its sender.

    The worker that took it first died before it acknowledged the message.
    """
    with Connection(
        environment.celery_broker(), transport_options={"visibility_timeout": 0.1}
    ) as broker:
        broker.SimpleQueue("runs").clear()
        run = queued(team, steps=20)
        first = broker.SimpleQueue("runs").get(timeout=120)
        assert first.headers["task"] == "workers.place"
        tasks.place()
        redelivery = until(lambda: redelivered(broker))
        assert redelivery.headers["id"] == first.headers["id"]
        for _ in range(2):
            tasks.place()
            tasks.start_placed()
        redelivery.ack()
    until(lambda: over(run))
    assert_undisturbed_record(run, attempts=1)
    assert Attempt.objects.filter(run=run).count() == 1
    assert run.transitions.filter(state=State.STARTING).count() == 1


@pytest.mark.skipif(not may_mount(), reason="a small disk of its own needs the right to mount")
def test_a_full_disk_ends_the_run_with_that_reason(
    team: Team, machine: Machine, tmp_path: Path
) -> None:
    run = queued(team, steps=200)
    (tmp_path / "alder").mkdir()
    mounting = f'mount -t tmpfs -o size=8m tmpfs {tmp_path}/alder && exec "$@"'
    alder = machine("alder", "unshare", "--mount", "sh", "-c", mounting, "sh")
    root = Path(f"/proc/{alder.pid}/root{tmp_path}")
    until(stored(run, 10))
    fill(root / "alder" / "somebody else's")
    until(lambda: over(run))
    assert run.state == State.FAILED
    assert "disk" in run.reason
    assert_complete(run, folder_on(root))
    assert run.events.filter(attempt=1, type="end").exists(), "its last words are kept"

    (root / "alder" / "somebody else's").unlink()
    lifecycle.resume(run)
    until(lambda: over(run))
    assert_undisturbed_record(run, attempts=2, base=root)


def redelivered(broker: Any) -> Any:
    """Return a message that was delivered again after its visibility timeout."""
    queue = broker.SimpleQueue("runs")
    queue.channel.qos.restore_visible()
    try:
        return queue.get_nowait()
    except queue.Empty:
        return None


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
