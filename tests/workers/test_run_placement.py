"""Queued runs and slots: every run is claimed once, and never more runs than a host has slots."""

from __future__ import annotations

import threading

import pytest
from django.db import connections

from webapp.access.models import Team
from webapp.nodes.allocation_keys import attempt_key
from webapp.runs import leases, lifecycle
from webapp.runs.models import Attempt, Run, State
from workers import periodic_recovery, run_placement
from workers.machine import allocation, host


@pytest.fixture
def team() -> Team:
    return Team.objects.create(name="Cellar", slug="cellar")


@pytest.fixture
def supervisors(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return the attempts whose supervisors would be started; no process is started here."""
    started: list[tuple[str, int]] = []

    def start(run: str, attempt: int) -> None:
        started.append((run, attempt))
        folder = host.attempt_folder(run, attempt)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "supervisor.lock").touch()

    monkeypatch.setattr(run_placement, "start_supervisor", start)
    monkeypatch.setattr(periodic_recovery, "start_supervisor", start)
    return started


def queued(team: Team, name: str = "run") -> Run:
    return lifecycle.create_run(team, None, {"name": name})


@pytest.mark.django_db(transaction=True)
def test_one_of_many_workers_claims_a_run(
    team: Team, supervisors: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLROOM_SLOTS", "100")
    run, gate = queued(team), threading.Barrier(8)

    def claim() -> None:
        gate.wait()
        run_placement.place_queued()
        connections.close_all()

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert supervisors == [(run.public_id, 1)]
    assert Attempt.objects.filter(run=run).count() == 1


@pytest.mark.django_db(transaction=True)
def test_simultaneous_claims_do_not_share_the_last_slot(
    team: Team, supervisors: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLROOM_SLOTS", "1")
    runs, gate = [queued(team, f"run {n}") for n in range(4)], threading.Barrier(4)

    def claim(run: Run) -> None:
        gate.wait()
        run_placement.place_queued()
        connections.close_all()

    threads = [threading.Thread(target=claim, args=[run]) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(supervisors) == 1
    assert Run.objects.filter(state=State.QUEUED).count() == 3


@pytest.mark.django_db
def test_the_sweep_starts_waiting_runs_oldest_first_until_the_slots_are_full(
    team: Team, supervisors: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLROOM_SLOTS", "2")
    first, second, third = (queued(team, name) for name in ("first", "second", "third"))
    periodic_recovery.sweep()
    assert supervisors == [(first.public_id, 1), (second.public_id, 1)]
    leases.finish(first.pk, 1, State.COMPLETED)
    allocation.release(attempt_key(first.public_id, 1))
    periodic_recovery.sweep()
    assert supervisors[-1] == (third.public_id, 1)


@pytest.mark.django_db
def test_a_run_with_an_expired_lease_gets_a_new_supervisor_for_the_same_attempt(
    team: Team, supervisors: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queued(team)
    run_placement.place_queued()
    periodic_recovery.sweep()
    assert supervisors == [(run.public_id, 1)], "the lease has not expired yet"
    monkeypatch.setattr(host, "LEASE_SECONDS", -1.0)
    periodic_recovery.sweep()
    assert supervisors == [(run.public_id, 1)] * 2
