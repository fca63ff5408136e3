"""One attempt on several machines: arguments of each, and how the end of one ends all."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now

import trainer.spec
from webapp.access.models import Team
from webapp.base import celery_client
from webapp.nodes import draining
from webapp.nodes.allocation_keys import attempt_key
from webapp.nodes.models import Device, Node
from webapp.runs import leases, lifecycle
from webapp.runs.models import Attempt, Checkpoint, Member, Run, State
from workers import periodic_recovery, run_placement
from workers.attempt.exit_text import explain
from workers.attempt.members import CONNECTION_LOST, AttemptMembers
from workers.attempt.preparation import PreparationError, prepare
from workers.machine import allocation, host

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
KILLED: dict[str, Any] = {"code": None, "signal": 9, "out_of_memory": False, "max_rss_bytes": 2**30}


def exit_report(code: int) -> dict[str, Any]:
    return {"code": code, "signal": None, "out_of_memory": False, "max_rss_bytes": 2**30}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return the attempts that this host, named `alder`, starts supervisors for."""
    starts: list[tuple[str, int]] = []
    monkeypatch.setenv("STILLROOM_HOST_NAME", "alder")
    monkeypatch.setenv("STILLROOM_SLOTS", "1")
    for module in (run_placement, periodic_recovery):
        monkeypatch.setattr(
            module, "start_supervisor", lambda run, attempt: starts.append((run, attempt))
        )
    return starts


@pytest.fixture
def team(started: list[tuple[str, int]]) -> Team:
    """Return a team of an installation with two machines of one slot each."""
    for name in ("alder", "birch"):
        node = Node.objects.create(name=name, address="127.0.0.1", cpus=1, memory_bytes=2**34)
        Device.objects.create(node=node, kind="cpu", index=0)
    return Team.objects.create(name="Cellar", slug="cellar")


@pytest.fixture
def run(team: Team, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a run that is active on both machines; alder leads."""
    monkeypatch.setattr(celery_client, "wake_node", lambda name: None)
    definition = trainer.spec.load(
        {"stages": [{"name": "one"}], "compute": {"nodes": 2, "device": "cpu", "max_restarts": 7}}
    )
    run = lifecycle.create_run(team, None, trainer.spec.to_dict(definition))
    assert run.pk in run_placement.place_queued()
    run.refresh_from_db()
    return run


def attempt_of(run: Run) -> Attempt:
    return run.attempts.get(number=run.attempt)


def allocations() -> dict[str, str]:
    return dict(Device.objects.values_list("node__name", "allocated_to"))


def end_member(run: Run, exit: dict[str, Any] | None, reason: str = "") -> None:
    Member.objects.filter(attempt__run=run).update(finished_at=Now(), exit=exit, reason=reason)


def outcome_of(run: Run, exit: dict[str, Any], stop_requested: bool = False) -> tuple[str, str]:
    members = AttemptMembers(attempt_of(run))
    members.refresh()
    outcome = members.outcome(
        exit, explain(exit, None, "its last line", stop_requested), stop_requested
    )
    return outcome.state, outcome.reason


def test_a_placed_run_has_devices_on_all_its_machines_and_each_is_notified(
    team: Team, started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(celery_client, "wake_node", woken.append)
    run = lifecycle.create_run(team, None, {"compute": {"nodes": 2, "device": "cpu"}})
    assert run.pk in run_placement.place_queued()
    assert allocations() == dict.fromkeys(("alder", "birch"), attempt_key(run.public_id, 1))
    assert (woken, started) == (["birch"], [(run.public_id, 1)])
    assert run.transitions.get(state=State.STARTING).reason == "Placed on alder and birch."
    monkeypatch.setenv("STILLROOM_HOST_NAME", "birch")
    Run.objects.update(state=State.RUNNING)
    started.clear()
    run_placement.start_placed()
    assert started == [(run.public_id, 1)], (
        "a member is started even if the leading machine was first"
    )


def test_a_run_that_needs_more_machines_than_are_free_gets_none(team: Team) -> None:
    allocation.claim(1, "cpu", "somebody", "birch")
    run = lifecycle.create_run(team, None, {"compute": {"nodes": 2, "device": "cpu"}})
    assert run.pk not in run_placement.place_queued()
    assert allocations() == {"alder": "", "birch": "somebody"}


def test_the_definition_sets_the_number_of_restarts(run: Run) -> None:
    assert run.max_restarts == 7


def test_the_leading_machine_chooses_address_and_checkpoint_once_for_all(
    run: Run, tmp_path: Path, settings: Any
) -> None:
    settings.STILLROOM_STATE = tmp_path
    first = prepare(run, attempt_of(run))
    address = (attempt_of(run).meeting or {})["place"]
    assert address.startswith("127.0.0.1:")
    assert first[-6:] == ["--machines", "2", "--machine", "0", "--meeting", address]
    assert prepare(run, attempt_of(run)) == first, (
        "a second supervisor of the attempt uses the same address"
    )
    assert prepare(run, attempt_of(run), 1)[-6:] == [
        "--machines",
        "2",
        "--machine",
        "1",
        "--meeting",
        address,
    ]

    Attempt.objects.filter(run=run).update(number=2, meeting=None)
    second_attempt = run.attempts.get()
    assert "--anew" in prepare(run, second_attempt), (
        "a checkpoint that only one machine has cannot be used"
    )
    assert "--anew" in prepare(run, second_attempt, 1)
    missing = Checkpoint.objects.create(
        run=run,
        attempt=1,
        seq=1,
        step=4,
        folder="checkpoints/step-00000004",
        size=1,
        created_at="2026-01-01T00:00Z",
        manifest={"state.json": {"sha256": "0" * 64, "size": 1}},
    )
    second_attempt.meeting = {"place": address, "checkpoint": missing.pk}
    with pytest.raises(PreparationError, match="not in the artifact store any more"):
        prepare(run, second_attempt, 1)


def test_a_leading_machine_with_a_loopback_address_is_rejected(
    run: Run, tmp_path: Path, settings: Any
) -> None:
    settings.STILLROOM_STATE = tmp_path
    Node.objects.filter(name="birch").update(address="10.0.0.9")
    with pytest.raises(
        PreparationError,
        match=r"alder is known as 127\.0\.0\.1, where birch cannot reach it. "
        r"Set STILLROOM_ADDRESS on alder",
    ):
        prepare(run, attempt_of(run))


@pytest.mark.parametrize(
    ("lead", "member", "state", "text"),
    [
        (
            exit_report(69),
            KILLED,
            State.QUEUED,
            "birch: The training process was killed by signal 9 (SIGKILL)",
        ),
        (exit_report(69), None, State.QUEUED, "birch: why it ended"),
        (exit_report(75), KILLED, State.QUEUED, "birch: "),
        (exit_report(69), exit_report(70), State.FAILED, "birch: why it ended"),
        (exit_report(69), KILLED | {"out_of_memory": True}, State.FAILED, "birch: "),
        (
            KILLED,
            exit_report(69),
            State.QUEUED,
            "alder: The training process was killed by signal 9 (SIGKILL)",
        ),
        (exit_report(71), exit_report(69), State.QUEUED, "alder: "),
        (exit_report(70), exit_report(69), State.FAILED, "its last line"),
        (exit_report(70), exit_report(70), State.FAILED, "its last line"),
        (exit_report(70), KILLED, State.QUEUED, "birch: "),
        (exit_report(75), exit_report(75), State.STOPPED, "Stopped on request"),
        (exit_report(0), exit_report(0), State.COMPLETED, ""),
    ],
)
def test_the_first_failure_gives_the_reason_and_decides_whether_to_retry(
    run: Run, lead: dict[str, Any], member: dict[str, Any] | None, state: str, text: str
) -> None:
    member_reason = (
        "The training process was killed by signal 9 (SIGKILL)"
        if member == KILLED
        else "why it ended"
    )
    end_member(run, member, member_reason)
    outcome, reason = outcome_of(run, lead)
    assert outcome == state and text in reason


def test_a_requested_stop_stays_a_stop_even_if_a_trainer_is_killed(run: Run) -> None:
    end_member(run, KILLED, "killed")
    assert outcome_of(run, exit_report(75), stop_requested=True)[0] == State.STOPPED
    assert outcome_of(run, KILLED, stop_requested=True)[0] == State.STOPPED


def test_the_leading_trainer_does_not_wait_forever_for_a_failed_member(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = AttemptMembers(attempt_of(run))
    members.refresh()
    assert not members.leader_is_stuck() and not members.cause_is_known()
    end_member(run, exit_report(69), "nobody answers")
    members.refresh()
    assert members.cause_is_known() and not members.leader_is_stuck()
    monkeypatch.setattr(host, "LEASE_SECONDS", -1.0)
    assert members.leader_is_stuck()
    outcome = members.outcome(KILLED, explain(KILLED, None, "", False), False)
    assert (outcome.state, outcome.reason) == (State.QUEUED, CONNECTION_LOST)


@pytest.mark.parametrize(
    ("silent_node", "silent_member"), [(True, False), (False, True), (True, True)]
)
def test_a_member_is_lost_when_it_and_its_machine_are_silent(
    run: Run, monkeypatch: pytest.MonkeyPatch, silent_node: bool, silent_member: bool
) -> None:
    monkeypatch.setattr(host, "LEASE_SECONDS", 1.0)
    if silent_node:
        Node.objects.filter(name="birch").update(heartbeat_at=Now() - HOUR)
    if silent_member:
        Member.objects.update(heartbeat_at=Now() - HOUR)
    members = AttemptMembers(attempt_of(run))
    members.refresh()
    assert not members.cause_is_known(), "a supervisor that just started declares nobody lost"
    members._outage_guard.calm_since -= 3600
    members._outage_guard.checked_at += 3600
    members.refresh()
    assert members.cause_is_known() is (silent_node and silent_member)
    if members.cause_is_known():
        assert (
            "birch: It was lost: it has not been heard of since"
            in outcome_of(run, exit_report(69))[1]
        )


def test_a_silent_member_gets_a_new_supervisor_on_its_own_machine(
    run: Run, started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Member.objects.update(heartbeat_at=Now() - HOUR)
    started.clear()
    periodic_recovery.adopt_orphans()
    assert started == [], "alder leads; birch restarts its own supervisor"
    monkeypatch.setenv("STILLROOM_HOST_NAME", "birch")
    periodic_recovery.adopt_orphans()
    assert started == [(run.public_id, 1)]
    end_member(run, None)
    periodic_recovery.adopt_orphans()
    assert len(started) == 1


def test_a_machine_releases_its_own_devices_only(run: Run) -> None:
    assert allocation.release(attempt_key(run.public_id, 1), "birch") == 1
    assert allocations() == {"alder": attempt_key(run.public_id, 1), "birch": ""}


def test_a_lost_attempt_is_not_taken_back_by_the_machine_that_led_it(
    run: Run, started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    leases.requeue(run.pk, 1, "alder was lost.")
    assert not leases.renew(run.pk, 1, "alder"), "the other machines have ended"
    started.clear()
    for name in ("alder", "birch"):
        monkeypatch.setenv("STILLROOM_HOST_NAME", name)
        periodic_recovery.end_stale_attempts()
    assert started == [(run.public_id, 1)] * 2, "each ends its own trainer and releases its devices"


def test_a_drained_member_moves_the_whole_run(run: Run) -> None:
    assert draining.drain(Node.objects.get(name="birch"), move=True) == 1
    run.refresh_from_db()
    assert (run.state, run.after_stop) == (State.STOPPING, State.QUEUED)
    assert list(leases.runs_on_machine("birch")) == [run]
    leases.finish(run.pk, 1, State.STOPPED, "Stopped on request.")
    run.refresh_from_db()
    assert (run.state, run.restarts) == (State.QUEUED, 0)
