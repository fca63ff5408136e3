"""One run on two machines with one database and artifact store: they end and resume together."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.records import assert_complete, folder_on
from webapp.access.models import Team
from webapp.nodes.allocation_keys import attempt_key
from webapp.nodes.models import Device, Node
from webapp.pages.machines import board
from webapp.runs import leases, lifecycle
from webapp.runs.models import Attempt, Member, Run, State
from workers.attempt.trainer_process import TrainerProcess
from workers.machine import allocation

from .conftest import Machine, definition, everything_of, over, trained, until
from .test_runs_survive import losses

STEPS = 60


def pair(team: Team, **compute: Any) -> Run:
    """Return a run of sixty steps on two machines, with nothing that depends on rounding."""
    quick: dict[str, Any] = {
        "pool": {"estimate": "never", "weighting": {"kind": "uniform"}, "track_problems": 0},
        "stages": [
            {
                "name": "forward",
                "source": "teacher_written",
                "objective": {"kind": "forward_kl"},
                "until": {"steps": STEPS},
            }
            | {
                "problems_per_step": 4,
                "rollouts": {"generate": {"sampling": {"max_new_tokens": 24}}},
            }
        ],
        "evaluation": {"every": 0, "final_samples": 1, "pass_at": [1]},
        "data": {
            "train": {"kind": "arithmetic", "families": ["add"], "levels": [1], "count": 8},
            "evaluation": {"kind": "arithmetic", "families": ["sub"], "levels": [1], "count": 4},
        },
    }
    return lifecycle.create_run(
        team, None, definition(**quick, compute={"device": "cpu", "nodes": 2} | compute)
    )


def trainer_on(base: Path, run: Run, name: str) -> TrainerProcess:
    run.refresh_from_db()
    return TrainerProcess(base / name / "runs" / run.public_id / "attempts" / str(run.attempt))


def allocations() -> list[tuple[str, str]]:
    return sorted(Device.objects.exclude(allocated_to="").values_list("node__name", "allocated_to"))


def is_released(base: Path, run: Run) -> bool:
    folders = base.glob(f"*/runs/{run.public_id}/attempts/*")
    return not allocations() and all(TrainerProcess(folder).ended() for folder in folders)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_after_one_trainer_is_killed_both_machines_resume_the_same_curve(
    team: Team, machine: Machine, tmp_path: Path
) -> None:
    run, single = pair(team), pair(team, nodes=1)
    for name in ("alder", "birch"):
        machine(name, STILLROOM_SLOTS="2", STILLROOM_ADDRESS="127.0.0.1")
    until(lambda: trained(run, 8)() and run.checkpoints.exists())
    holder = attempt_key(run.public_id, 1)
    assert {("alder", holder), ("birch", holder)} <= set(allocations())
    assert board.whereabouts(run).count("CPU slot") == 2
    member = Member.objects.get(attempt__run=run)
    trainer = trainer_on(tmp_path, run, member.host).pid()
    assert trainer
    os.kill(trainer, signal.SIGKILL)

    until(lambda: over(run))
    assert (run.state, run.attempt, run.restarts) == (State.COMPLETED, 2, 1), run.reason
    reason = run.transitions.get(state=State.QUEUED, attempt=1).reason
    assert reason.startswith(
        f"{member.host}: The training process was killed by signal 9 (SIGKILL)"
    )
    assert run.events.filter(attempt=2, type="rewind", step__gt=0).exists(), (
        "it resumed from a checkpoint"
    )
    assert_complete(run, folder_on(tmp_path))
    until(lambda: over(single))
    assert losses(run) == pytest.approx(losses(single), rel=2e-3), (
        "within rounding, which sixty steps of AdamW enlarge"
    )
    assert list(losses(run)) == list(range(1, STEPS + 1))
    until(lambda: is_released(tmp_path, run))
    assert Member.objects.filter(finished_at=None).count() == 0


def test_a_run_on_two_machines_survives_a_port_in_use_and_a_lost_machine(
    team: Team, machine: Machine, tmp_path: Path, taken_port: int, settings: Any
) -> None:
    settings.STILLROOM_LEASE_SECONDS = 2
    run = pair(team)
    for name in ("alder", "birch"):
        node = Node.objects.create(name=name, address="127.0.0.1", cpus=1, memory_bytes=2**34)
        Device.objects.create(node=node, kind="cpu", index=0)
    assert leases.claim(run.pk, "alder", "birch")
    assert all(
        allocation.claim(1, "cpu", attempt_key(run.public_id, 1), name, team)
        for name in ("alder", "birch")
    )
    Attempt.objects.filter(run=run).update(
        meeting={"place": f"127.0.0.1:{taken_port}", "checkpoint": None}
    )
    started = {name: machine(name, STILLROOM_ADDRESS="127.0.0.1") for name in ("alder", "birch")}
    until(lambda: trained(run, 2)() and run.attempt == 2)
    assert "could not meet" in run.transitions.get(state=State.QUEUED, attempt=1).reason
    assert (
        run.attempts.values_list("meeting__place", flat=True).get(number=2)
        != f"127.0.0.1:{taken_port}"
    )

    lost_name = Member.objects.get(attempt__run=run, attempt__number=2).host
    for process in everything_of(started[lost_name]):
        process.kill()
    until(lambda: over(run) or run.state == State.QUEUED)
    assert f"{lost_name}: It was lost" in run.transitions.get(state=State.QUEUED, attempt=2).reason
    assert board.why(run) == f"{lost_name} has not been heard of"
    until(lambda: [name for name, _ in allocations()] == [lost_name])

    machine(lost_name, STILLROOM_ADDRESS="127.0.0.1")
    until(lambda: trained(run, 2)() and run.attempt == 3 and run.state == State.RUNNING)
    lifecycle.request_stop(run)
    until(lambda: over(run))
    assert (run.state, run.attempt, run.restarts) == (State.STOPPED, 3, 2), run.reason
    assert run.checkpoints.filter(step=run.step).exists()
    assert_complete(run, folder_on(tmp_path))
    until(lambda: is_released(tmp_path, run))
