"""Real supervisors on the test database, and runs for them: of real trainers, small but with
everything, or of `steady` ones.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

import trainer.spec
from tests.faults import steady
from tests.faults.records import assert_complete, assert_curve, folder_on
from tests.faults.world import slay
from webapp.access.models import Team
from webapp.runs import lifecycle
from webapp.runs.models import ACTIVE, Attempt, Run, State
from workers.attempt.trainer_process import REPOSITORY, TrainerProcess
from workers.machine import host
from workers.run_placement import place

PATIENCE_SECONDS = 120
Sweep = subprocess.Popen[bytes]
Machine = Callable[..., Sweep]


def definition(**changes: Any) -> dict[str, Any]:
    """Both stages, pass rates, evaluations and checkpoints, on the built-in pair."""
    spec = {
        "name": "small",
        "data": {
            "train": {"kind": "arithmetic", "families": ["add"], "levels": [1, 2], "count": 40}
        },
        "pool": {"rollouts_per_problem": 2, "weighting": {"kind": "uniform"}, "track_problems": 4},
        "stages": [
            {
                "name": "forward",
                "source": "teacher_written",
                "objective": {"kind": "forward_kl"},
                "problems_per_step": 4,
                "until": {"steps": 12},
            },
            {
                "name": "on-policy",
                "source": "student_rollouts",
                "problems_per_step": 4,
                "until": {"steps": 12},
            },
        ],
        "evaluation": {"every": 6, "final_samples": 1, "pass_at": [1]},
        "checkpoints": {"every": 4},
    }
    return trainer.spec.to_dict(trainer.spec.load(spec | changes))


@pytest.fixture
def team(
    transactional_db: None, child_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Team]:
    """The processes that a test starts inherit the test database; none survives the test."""
    monkeypatch.setenv("DATABASE_URL", child_environment["DATABASE_URL"])
    monkeypatch.setattr(host, "LEASE_SECONDS", 1.0)
    yield Team.objects.create(name="Cellar", slug="cellar")
    for run in Run.objects.filter(state__in=ACTIVE):
        process_of(run).kill()
        until(partial(over, run))


@pytest.fixture
def light(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainers are programs without networks, and leases short."""
    monkeypatch.setenv("STILLROOM_TRAINER", f"{sys.executable} -m tests.faults.steady")
    monkeypatch.setenv("STILLROOM_LEASE_SECONDS", "2")


@pytest.fixture
def machine(team: Team, tmp_path: Path) -> Iterator[Machine]:
    """Starts the sweep of a machine by its name; everything that it starts is gone after the
    test.
    """
    started: list[Sweep] = []

    def start(name: str, *wrapper: str, **environment: str) -> Sweep:
        own = {
            "STILLROOM_HOST_NAME": name,
            "STILLROOM_STATE": str(tmp_path / name),
            "STILLROOM_SLOTS": "1",
        }
        shared = {"STILLROOM_ARTIFACTS": str(tmp_path / "store"), "STILLROOM_LEASE_SECONDS": "2"}
        command = [*wrapper, sys.executable, "-m", "workers", "sweep"]
        given = {**os.environ, **own, **shared, **environment}
        started.append(subprocess.Popen(command, cwd=REPOSITORY, env=given, start_new_session=True))
        return started[-1]

    yield start
    for sweep in started:
        for process in everything_of(sweep):
            slay(process)
        sweep.wait()


def everything_of(sweep: Sweep) -> list[psutil.Process]:
    """The sweep, the supervisors that it has started, and their trainers."""
    try:
        root = psutil.Process(sweep.pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def program_of(process: psutil.Process) -> set[str]:
    """Module and first argument of a `python -m …`; nothing where the process has just ended."""
    try:
        return set(process.cmdline()[2:4])
    except psutil.Error:
        return set()


def queued(team: Team, steps: int, seed: int = 5) -> Run:
    """A run for a steady trainer."""
    stages = [{"name": "steady", "until": {"steps": steps}}]
    return lifecycle.create_run(
        team, None, definition(name=f"run {seed}", stages=stages, seed=seed)
    )


def started(run: Run) -> Run:
    """The run, once it has a supervisor on this host."""
    assert place(run.pk)
    run.refresh_from_db()
    return run


def assert_whole(run: Run, attempts: int, base: Path | None = None) -> None:
    """It is complete, recorded and one curve, that of an undisturbed run; on several machines each
    keeps its state below `base`.
    """
    assert (run.state, run.attempt) == (State.COMPLETED, attempts), run.reason
    assert_complete(run, *([folder_on(base)] if base else []))
    assert_curve(run, steady.losses((run.spec or {})["seed"], run.total_steps or 0))


def process_of(run: Run) -> TrainerProcess:
    run.refresh_from_db()
    return TrainerProcess(host.attempt_folder(run.public_id, run.attempt))


def signalled(process: TrainerProcess, sent: signal.Signals) -> None:
    """Send a signal to a trainer that lives. (To nobody would be to everybody: pid 0 is the test's
    own group.)
    """
    pid = process.pid()
    assert pid, "the trainer has ended before it could be disturbed"
    os.kill(pid, sent)


def until(condition: Callable[[], Any], guard: float = PATIENCE_SECONDS) -> Any:
    deadline = time.monotonic() + guard
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail("it did not happen in time")


def over(run: Run) -> bool:
    run.refresh_from_db()
    return run.state not in (*ACTIVE, "queued")


def trained(run: Run, steps: int) -> Callable[[], bool]:
    """Whether the page shows at least that many steps."""

    def reached() -> bool:
        run.refresh_from_db()
        return run.step >= steps

    return reached


def stored(run: Run, step: int) -> Callable[[], bool]:
    """Whether training has gone on after a checkpoint of at least that step was stored."""
    return lambda: trained(run, step + 2)() and run.checkpoints.filter(step__gte=step).exists()


def exits(run: Run) -> list[dict[str, Any] | None]:
    return list(Attempt.objects.filter(run=run).order_by("number").values_list("exit", flat=True))
