"""One attempt on several machines: what each of them is given, what it learns of the others, and
how the end of one ends all.
"""

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
from workers import run_placement, sweep
from workers.attempt.exit_text import explain
from workers.attempt.members import CONNECTION_LOST, AttemptMembers
from workers.attempt.preparation import PreparationError, prepare
from workers.machine import allocation, host

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
KILLED: dict[str, Any] = {"code": None, "signal": 9, "out_of_memory": False, "max_rss_bytes": 2**30}


def ended(code: int) -> dict[str, Any]:
    return {"code": code, "signal": None, "out_of_memory": False, "max_rss_bytes": 2**30}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What this host, called alder, would start."""
    found: list[tuple[str, int]] = []
    monkeypatch.setenv("STILLROOM_HOST_NAME", "alder")
    monkeypatch.setenv("STILLROOM_SLOTS", "1")
    for module in (run_placement, sweep):
        monkeypatch.setattr(
            module, "start_supervisor", lambda run, attempt: found.append((run, attempt))
        )
    return found


@pytest.fixture
def team(started: list[tuple[str, int]]) -> Team:
    """Of an installation with two machines of one slot each."""
    for name in ("alder", "birch"):
        node = Node.objects.create(name=name, address="127.0.0.1", cpus=1, memory_bytes=2**34)
        Device.objects.create(node=node, kind="cpu", index=0)
    return Team.objects.create(name="Cellar", slug="cellar")


@pytest.fixture
def run(team: Team, monkeypatch: pytest.MonkeyPatch) -> Run:
    """At work on both, led by alder."""
    monkeypatch.setattr(celery_client, "wake_node", lambda name: None)
    definition = trainer.spec.load(
        {"stages": [{"name": "one"}], "compute": {"nodes": 2, "device": "cpu", "max_restarts": 7}}
    )
    run = lifecycle.create_run(team, None, trainer.spec.to_dict(definition))
    assert run_placement.place(run.pk)
    run.refresh_from_db()
    return run


def attempt_of(run: Run) -> Attempt:
    return run.attempts.get(number=run.attempt)


def held() -> dict[str, str]:
    return dict(Device.objects.values_list("node__name", "allocated_to"))


def leave(run: Run, exit: dict[str, Any] | None, reason: str = "") -> None:
    Member.objects.filter(attempt__run=run).update(finished_at=Now(), exit=exit, reason=reason)


def judged(run: Run, exit: dict[str, Any], asked: bool = False) -> tuple[str, str]:
    members = AttemptMembers(attempt_of(run))
    members.refresh()
    ending = members.outcome(exit, explain(exit, None, "its last words", asked), asked)
    return ending.state, ending.reason


def test_a_placed_run_holds_devices_on_all_of_its_machines_and_each_is_woken(
    team: Team, started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(celery_client, "wake_node", woken.append)
    run = lifecycle.create_run(team, None, {"compute": {"nodes": 2, "device": "cpu"}})
    assert run_placement.place(run.pk)
    assert held() == dict.fromkeys(("alder", "birch"), attempt_key(run.public_id, 1))
    assert (woken, started) == (["birch"], [(run.public_id, 1)])
    assert run.transitions.get(state=State.STARTING).reason == "Placed on alder and birch."
    monkeypatch.setenv("STILLROOM_HOST_NAME", "birch")
    Run.objects.update(state=State.RUNNING)
    started.clear()
    run_placement.start_placed()
    assert started == [(run.public_id, 1)], (
        "a part is started though the leading machine was quicker"
    )


def test_a_run_that_needs_more_machines_than_are_free_holds_none(team: Team) -> None:
    allocation.claim(1, "cpu", "somebody", "birch")
    run = lifecycle.create_run(team, None, {"compute": {"nodes": 2, "device": "cpu"}})
    assert not run_placement.place(run.pk)
    assert held() == {"alder": "", "birch": "somebody"}


def test_how_often_it_is_restarted_is_the_definitions_to_say(run: Run) -> None:
    assert run.max_restarts == 7


def test_the_leading_machine_settles_the_meeting_once_and_the_others_begin_alike(
    run: Run, tmp_path: Path, settings: Any
) -> None:
    settings.STILLROOM_STATE = tmp_path
    first = prepare(run, attempt_of(run))
    place = (attempt_of(run).meeting or {})["place"]
    assert place.startswith("127.0.0.1:")
    assert first[-6:] == ["--machines", "2", "--machine", "0", "--meeting", place]
    assert prepare(run, attempt_of(run)) == first, (
        "a second supervisor of the attempt tells the same"
    )
    assert prepare(run, attempt_of(run), 1)[-6:] == [
        "--machines",
        "2",
        "--machine",
        "1",
        "--meeting",
        place,
    ]

    Attempt.objects.filter(run=run).update(number=2, meeting=None)
    again = run.attempts.get()
    assert "--anew" in prepare(run, again), "what only one machine has is nothing to go on from"
    assert "--anew" in prepare(run, again, 1)
    gone = Checkpoint.objects.create(
        run=run, attempt=1, seq=1, step=4, folder="checkpoints/step-00000004", size=1, created_at="2026-01-01T00:00Z",
        manifest={"state.json": {"sha256": "0" * 64, "size": 1}},
    )  # fmt: skip
    again.meeting = {"place": place, "checkpoint": gone.pk}
    with pytest.raises(PreparationError, match="not in the artifact store any more"):
        prepare(run, again, 1)


def test_machines_that_cannot_reach_each_other_are_told_so(
    run: Run, tmp_path: Path, settings: Any
) -> None:
    settings.STILLROOM_STATE = tmp_path
    Node.objects.filter(name="birch").update(address="10.0.0.9")
    with pytest.raises(
        PreparationError,
        match=r"alder is known as 127\.0\.0\.1, where birch cannot reach it. Set STILLROOM_ADDRESS on alder",
    ):
        prepare(run, attempt_of(run))


@pytest.mark.parametrize(
    ("lead", "member", "state", "said"),
    [
        (
            ended(69),
            KILLED,
            State.QUEUED,
            "birch: The training process was killed by signal 9 (SIGKILL)",
        ),
        (ended(69), None, State.QUEUED, "birch: why it left"),
        (ended(75), KILLED, State.QUEUED, "birch: "),
        (ended(69), ended(70), State.FAILED, "birch: why it left"),
        (ended(69), KILLED | {"out_of_memory": True}, State.FAILED, "birch: "),
        (
            KILLED,
            ended(69),
            State.QUEUED,
            "alder: The training process was killed by signal 9 (SIGKILL)",
        ),
        (ended(71), ended(69), State.QUEUED, "alder: "),
        (ended(70), ended(69), State.FAILED, "its last words"),
        (ended(70), ended(70), State.FAILED, "its last words"),
        (ended(70), KILLED, State.QUEUED, "birch: "),
        (ended(75), ended(75), State.STOPPED, "Stopped on request"),
        (ended(0), ended(0), State.COMPLETED, ""),
    ],
)
def test_who_left_first_says_why_and_whether_another_attempt_may_do_better(
    run: Run, lead: dict[str, Any], member: dict[str, Any] | None, state: str, said: str
) -> None:
    told = (
        "The training process was killed by signal 9 (SIGKILL)"
        if member == KILLED
        else "why it left"
    )
    leave(run, member, told)
    outcome, reason = judged(run, lead)
    assert outcome == state and said in reason


def test_a_stop_that_was_asked_for_stays_one_whoever_dies_of_it(run: Run) -> None:
    leave(run, KILLED, "killed")
    assert judged(run, ended(75), asked=True)[0] == State.STOPPED
    assert judged(run, KILLED, asked=True)[0] == State.STOPPED


def test_the_leading_trainer_is_not_left_waiting_for_who_has_gone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = AttemptMembers(attempt_of(run))
    members.refresh()
    assert not members.leader_is_stuck() and not members.cause_is_known()
    leave(run, ended(69), "nobody answers")
    members.refresh()
    assert members.cause_is_known() and not members.leader_is_stuck()
    monkeypatch.setattr(host, "LEASE_SECONDS", -1.0)
    assert members.leader_is_stuck()
    ending = members.outcome(KILLED, explain(KILLED, None, "", False), False)
    assert (ending.state, ending.reason) == (State.QUEUED, CONNECTION_LOST)


@pytest.mark.parametrize(
    ("silent_node", "silent_member"), [(True, False), (False, True), (True, True)]
)
def test_a_member_is_lost_when_neither_it_nor_its_machine_is_heard_of(
    run: Run, monkeypatch: pytest.MonkeyPatch, silent_node: bool, silent_member: bool
) -> None:
    monkeypatch.setattr(host, "LEASE_SECONDS", 1.0)
    if silent_node:
        Node.objects.filter(name="birch").update(heartbeat_at=Now() - HOUR)
    if silent_member:
        Member.objects.update(heartbeat_at=Now() - HOUR)
    members = AttemptMembers(attempt_of(run))
    members.refresh()
    assert not members.cause_is_known(), "who has just begun to listen calls nobody lost"
    members._outage_guard.calm_since -= 3600
    members._outage_guard.checked_at += 3600
    members.refresh()
    assert members.cause_is_known() is (silent_node and silent_member)
    if members.cause_is_known():
        assert "birch: It was lost: it has not been heard of since" in judged(run, ended(69))[1]


def test_a_silent_part_gets_another_supervisor_on_its_own_machine(
    run: Run, started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Member.objects.update(heartbeat_at=Now() - HOUR)
    started.clear()
    sweep.adopt_orphans()
    assert started == [], "alder leads; birch is to look after its own part"
    monkeypatch.setenv("STILLROOM_HOST_NAME", "birch")
    sweep.adopt_orphans()
    assert started == [(run.public_id, 1)]
    leave(run, None)
    sweep.adopt_orphans()
    assert len(started) == 1


def test_what_a_machine_gives_back_is_its_own(run: Run) -> None:
    assert allocation.release(attempt_key(run.public_id, 1), "birch") == 1
    assert held() == {"alder": attempt_key(run.public_id, 1), "birch": ""}


def test_an_attempt_that_was_given_up_is_not_taken_back_by_the_machine_that_led_it(
    run: Run, started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    leases.requeue(run.pk, 1, "alder was lost.")
    assert not leases.renew(run.pk, 1, "alder"), "the others have left"
    started.clear()
    for name in ("alder", "birch"):
        monkeypatch.setenv("STILLROOM_HOST_NAME", name)
        sweep.end_stale_attempts()
    assert started == [(run.public_id, 1)] * 2, "each ends its own part and gives its devices back"


def test_a_drained_member_moves_the_whole_run(run: Run) -> None:
    assert draining.drain(Node.objects.get(name="birch"), move=True) == 1
    run.refresh_from_db()
    assert (run.state, run.after_stop) == (State.STOPPING, State.QUEUED)
    assert list(leases.runs_on_machine("birch")) == [run]
    leases.finish(run.pk, 1, State.STOPPED, "Stopped on request.")
    run.refresh_from_db()
    assert (run.state, run.restarts) == (State.QUEUED, 0)
