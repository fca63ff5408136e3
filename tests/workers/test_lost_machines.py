"""Who is called lost, by whom, and what a machine does about attempts that are not its own any
more.
"""

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
from workers import run_placement, sweep
from workers.attempt.outage_guard import OutageGuard
from workers.attempt.shim import identity, write_atomically
from workers.machine import allocation, host, registration

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What this host, called here, would start."""
    found: list[tuple[str, int]] = []
    monkeypatch.setenv("STILLROOM_HOST_NAME", "here")
    monkeypatch.setenv("STILLROOM_SLOTS", "1")
    monkeypatch.setattr(
        run_placement, "start_supervisor", lambda run, attempt: found.append((run, attempt))
    )
    monkeypatch.setattr(
        sweep, "start_supervisor", lambda run, attempt: found.append((run, attempt))
    )
    return found


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process and Postgres have been there for longer than a lease, however slow the machine
    is.
    """
    monkeypatch.setattr(host, "LEASE_SECONDS", 1.0)
    guard = OutageGuard()
    guard.calm_since -= 3600
    guard.checked_at += 3600
    monkeypatch.setattr(sweep, "outage_guard", guard)


@pytest.fixture
def run(started: list[tuple[str, int]]) -> Run:
    """At work on a machine called there, which has one slot."""
    there = Node.objects.create(name="there", address="", cpus=1, memory_bytes=2**34)
    Device.objects.create(node=there, kind="cpu", index=0)
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
def test_a_run_goes_on_elsewhere_when_its_machine_is_lost(
    run: Run, started: list[tuple[str, int]]
) -> None:
    silence(run, node=True, lease=True)
    sweep.sweep()
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
def test_a_machine_or_a_run_that_is_heard_of_is_left_alone(
    run: Run, node: bool, lease: bool
) -> None:
    silence(run, node=node, lease=lease)
    sweep.requeue_lost_runs()
    assert state_of(run) == (State.STARTING, 1, "there")


def test_who_has_just_started_calls_nobody_lost(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "outage_guard", OutageGuard())
    silence(run, node=True, lease=True)
    sweep.requeue_lost_runs()
    assert state_of(run) == (State.STARTING, 1, "there")


def test_patience_begins_anew_after_an_outage_and_after_standing_still(
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
    assert not guard.is_calm_for(0.5), "it was stopped for longer than a lease"
    guard.calm_since -= 10
    assert not guard.is_calm_for(10**9), "Postgres has not been up for so long"


def test_a_machine_that_returns_ends_what_is_not_its_own_any_more(
    run: Run, started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLROOM_HOST_NAME", "there")
    sweep.end_stale_attempts()
    assert started == []
    leases.requeue(run.pk, 1, "there was lost.")
    sweep.end_stale_attempts()
    assert started == [(run.public_id, 1)], (
        "it waits for devices that it may be holding itself: a supervisor takes it back"
    )
    leases.claim(run.pk, "elsewhere")
    sweep.end_stale_attempts()
    assert started == [(run.public_id, 1)] * 2


def test_what_is_placed_on_another_machine_is_started_there(
    run: Run, started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(celery_client, "wake_node", woken.append)
    registration.register()
    Node.objects.filter(name="here").update(draining=True)
    Device.objects.update(allocated_to="", team=None)
    other = lifecycle.create_run(run.team, None, {"name": "other"})
    assert run_placement.place(other.pk)
    assert (woken, started) == (["there"], [])
    assert state_of(other) == (State.STARTING, 1, "there")
    monkeypatch.setenv("STILLROOM_HOST_NAME", "there")
    run_placement.start_placed()
    assert (other.public_id, 1) in started


def test_a_machine_that_nobody_knows_any_more_is_lost_too(
    run: Run, started: list[tuple[str, int]], calm: None
) -> None:
    silence(run, node=True, lease=True)
    Node.objects.filter(name="there").delete()
    sweep.requeue_lost_runs()
    assert state_of(run)[0] == State.QUEUED


def test_a_living_trainer_of_a_run_that_is_over_is_found_after_a_restart(
    run: Run, started: list[tuple[str, int]]
) -> None:
    for attempt in (1, 2):
        folder = host.attempt_folder(run.public_id, attempt)
        folder.mkdir(parents=True)
        write_atomically(
            folder / "process.json", {who: identity(os.getpid()) for who in ("trainer", "shim")}
        )
    leases.requeue(run.pk, 1, "there was lost.")
    leases.claim(run.pk, "elsewhere")
    sweep.end_unrecorded_trainers()
    assert started == [(run.public_id, 1)]
