"""Which runs are declared lost, by whom, and how a machine ends attempts that it lost."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from webapp.access.models import Team
from webapp.base import celery_client
from webapp.nodes.allocation_keys import attempt_key
from webapp.nodes.models import Device, Node
from webapp.runs import leases, lifecycle
from webapp.runs.models import Run, State
from workers import periodic_recovery, run_placement
from workers.attempt.exit_recorder import write_atomically
from workers.attempt.outage_guard import OutageGuard
from workers.machine import allocation, host, registration
from workers.process_identity import identity

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return the attempts that this host, named `here`, starts supervisors for."""
    starts: list[tuple[str, int]] = []
    monkeypatch.setenv("STILLROOM_HOST_NAME", "here")
    monkeypatch.setenv("STILLROOM_SLOTS", "1")
    monkeypatch.setattr(
        run_placement, "start_supervisor", lambda run, attempt: starts.append((run, attempt))
    )
    monkeypatch.setattr(
        periodic_recovery, "start_supervisor", lambda run, attempt: starts.append((run, attempt))
    )
    return starts


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process and Postgres have run for longer than a lease, however slow this is."""
    monkeypatch.setattr(host, "LEASE_SECONDS", 1.0)
    guard = OutageGuard()
    guard.calm_since -= 3600
    guard.checked_at += 3600
    monkeypatch.setattr(periodic_recovery, "outage_guard", guard)


@pytest.fixture
def run(started: list[tuple[str, int]]) -> Run:
    """Return a run that is active on the machine `there`, which has one slot."""
    node = Node.objects.create(name="there", address="", cpus=1, memory_bytes=2**34)
    Device.objects.create(node=node, kind="cpu", index=0)
    run = lifecycle.create_run(
        Team.objects.create(name="Cellar", slug="cellar"), None, {"name": "run"}
    )
    assert leases.claim(run.pk, "there")
    assert allocation.claim(1, "cpu", attempt_key(run.public_id, 1), "there", run.team)
    return run


def silence(run: Run, *, node: bool, lease: bool) -> None:
    Node.objects.filter(name="there").update(heartbeat_at=Now() - (HOUR if node else timedelta()))
    Run.objects.filter(pk=run.pk).update(heartbeat_at=Now() - (HOUR if lease else timedelta()))


def state_of(run: Run) -> tuple[str, int, str]:
    run.refresh_from_db()
    return run.state, run.attempt, run.lease_holder


@pytest.mark.usefixtures("calm")
def test_a_run_is_placed_elsewhere_when_its_machine_is_lost(
    run: Run, started: list[tuple[str, int]]
) -> None:
    silence(run, node=True, lease=True)
    periodic_recovery.sweep()
    assert state_of(run) == (State.STARTING, 2, "here")
    assert started == [(run.public_id, 2)]
    assert Device.objects.get(node__name="there").allocated_to == attempt_key(run.public_id, 1), (
        "it may still work on it"
    )
    assert (
        "there was lost: it has not been heard of since"
        in run.transitions.get(state=State.QUEUED, attempt=1).reason
    )


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize(("node", "lease"), [(True, False), (False, True), (False, False)])
def test_a_run_is_not_requeued_while_it_or_its_machine_has_a_heartbeat(
    run: Run, node: bool, lease: bool
) -> None:
    silence(run, node=node, lease=lease)
    periodic_recovery.requeue_lost_runs()
    assert state_of(run) == (State.STARTING, 1, "there")


def test_a_sweep_that_just_started_declares_nothing_lost(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(periodic_recovery, "outage_guard", OutageGuard())
    silence(run, node=True, lease=True)
    periodic_recovery.requeue_lost_runs()
    assert state_of(run) == (State.STARTING, 1, "there")


def test_the_calm_time_starts_again_after_an_outage_and_after_a_suspension(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host, "LEASE_SECONDS", 0.5)
    guard = OutageGuard()
    guard.calm_since -= 10
    guard.check()
    assert guard.is_calm_for(0.5)
    guard.record_outage()
    assert not guard.is_calm_for(0.5)
    guard.calm_since -= 10
    guard.checked_at -= 1
    guard.check()
    assert not guard.is_calm_for(0.5), "this process was suspended for longer than a lease"
    guard.calm_since -= 10
    assert not guard.is_calm_for(10**9), "Postgres has not been up for so long"


def test_a_machine_that_returns_ends_attempts_that_are_not_current_any_more(
    run: Run, started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLROOM_HOST_NAME", "there")
    periodic_recovery.end_stale_attempts()
    assert started == []
    leases.requeue(run.pk, 1, "there was lost.")
    periodic_recovery.end_stale_attempts()
    assert started == [(run.public_id, 1)], (
        "the run waits, perhaps for these devices: a supervisor takes it back"
    )
    leases.claim(run.pk, "elsewhere")
    periodic_recovery.end_stale_attempts()
    assert started == [(run.public_id, 1)] * 2


def test_a_run_that_was_placed_on_another_machine_is_started_there(
    run: Run, started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(celery_client, "wake_node", woken.append)
    registration.register()
    Node.objects.filter(name="here").update(draining=True)
    Device.objects.update(allocated_to="", team=None)
    placed = lifecycle.create_run(run.team, None, {"name": "other"})
    assert placed.pk in run_placement.place_queued()
    assert (woken, started) == (["there"], [])
    assert state_of(placed) == (State.STARTING, 1, "there")
    monkeypatch.setenv("STILLROOM_HOST_NAME", "there")
    run_placement.start_placed()
    assert (placed.public_id, 1) in started


def test_a_machine_whose_row_was_deleted_is_lost_too(
    run: Run, started: list[tuple[str, int]], calm: None
) -> None:
    silence(run, node=True, lease=True)
    Node.objects.filter(name="there").delete()
    periodic_recovery.requeue_lost_runs()
    assert state_of(run)[0] == State.QUEUED


def test_a_trainer_of_an_older_attempt_is_found_after_a_restart(
    run: Run, started: list[tuple[str, int]]
) -> None:
    for attempt in (1, 2):
        folder = host.attempt_folder(run.public_id, attempt)
        folder.mkdir(parents=True)
        write_atomically(
            folder / "process.json", {role: identity(os.getpid()) for role in ("trainer", "shim")}
        )
    leases.requeue(run.pk, 1, "there was lost.")
    leases.claim(run.pk, "elsewhere")
    periodic_recovery.end_unrecorded_trainers()
    assert started == [(run.public_id, 1)]
