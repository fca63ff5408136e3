"""Real supervisors on the test database, with small runs of the real or the `steady` trainer."""

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
from tests.faults.world import kill_if_alive
from webapp.access.models import Team
from webapp.runs import lifecycle
from webapp.runs.models import ACTIVE, Attempt, Run, State
from workers.attempt.trainer_process import REPOSITORY, TrainerProcess
from workers.machine import host
from workers.run_placement import place_queued

WAIT_SECONDS = 120
Sweep = subprocess.Popen[bytes]
Machine = Callable[..., Sweep]


def definition(**changes: Any) -> dict[str, Any]:
    """Return a definition with two stages, pass rates, evaluations and checkpoints."""
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
    """Let processes of a test inherit the test database; kill all of them after the test."""
    monkeypatch.setenv("DATABASE_URL", child_environment["DATABASE_URL"])
    monkeypatch.setattr(host, "LEASE_SECONDS", 1.0)
    yield Team.objects.create(name="Cellar", slug="cellar")
    for run in Run.objects.filter(state__in=ACTIVE):
        process_of(run).kill()
        until(partial(over, run))


@pytest.fixture
def light(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use trainers without networks and short leases."""
    monkeypatch.setenv("STILLROOM_TRAINER", f"{sys.executable} -m tests.faults.steady")
    monkeypatch.setenv("STILLROOM_LEASE_SECONDS", "2")


@pytest.fixture
def machine(team: Team, tmp_path: Path) -> Iterator[Machine]:
    """Return a function that starts a machine's sweep; its processes are killed after the test."""
    started: list[Sweep] = []

    def start(name: str, *wrapper: str, **environment: str) -> Sweep:
        host_settings = {
            "STILLROOM_HOST_NAME": name,
            "STILLROOM_STATE": str(tmp_path / name),
            "STILLROOM_SLOTS": "1",
        }
        shared = {"STILLROOM_ARTIFACTS": str(tmp_path / "store"), "STILLROOM_LEASE_SECONDS": "2"}
        command = [*wrapper, sys.executable, "-m", "workers", "sweep"]
        variables = {**os.environ, **host_settings, **shared, **environment}
        started.append(
            subprocess.Popen(command, cwd=REPOSITORY, env=variables, start_new_session=True)
        )
        return started[-1]

    yield start
    for sweep in started:
        for process in everything_of(sweep):
            kill_if_alive(process)
        sweep.wait()


def everything_of(sweep: Sweep) -> list[psutil.Process]:
    """Return the sweep, the supervisors that it has started, and their trainers."""
    try:
        root = psutil.Process(sweep.pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def program_of(process: psutil.Process) -> set[str]:
    """Return module and first argument of a `python -m …`; {} if the process has exited."""
    try:
        return set(process.cmdline()[2:4])
    except psutil.Error:
        return set()


def queued(team: Team, steps: int, seed: int = 5) -> Run:
    """Return a queued run for a steady trainer."""
    stages = [{"name": "steady", "until": {"steps": steps}}]
    return lifecycle.create_run(
        team, None, definition(name=f"run {seed}", stages=stages, seed=seed)
    )


def started(run: Run) -> Run:
    """Place the run on this host and return it."""
    assert run.pk in place_queued()
    run.refresh_from_db()
    return run


def assert_undisturbed_record(run: Run, attempts: int, base: Path | None = None) -> None:
    """Check that the run is complete and its curve that of an undisturbed run.

    `base` is the parent of the machines' state folders, if there are several.
    """
    assert (run.state, run.attempt) == (State.COMPLETED, attempts), run.reason
    assert_complete(run, *([folder_on(base)] if base else []))
    assert_curve(run, steady.losses((run.spec or {})["seed"], run.total_steps or 0))


def process_of(run: Run) -> TrainerProcess:
    run.refresh_from_db()
    return TrainerProcess(host.attempt_folder(run.public_id, run.attempt))


def send_signal(process: TrainerProcess, number: signal.Signals) -> None:
    """Send a signal to a living trainer. (Pid 0 would be the test's own process group.)"""
    pid = process.pid()
    assert pid, "the trainer has ended before it could be disturbed"
    os.kill(pid, number)


def until(condition: Callable[[], Any], timeout: float = WAIT_SECONDS) -> Any:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.05)
    pytest.fail("the condition did not become true in time")


def over(run: Run) -> bool:
    run.refresh_from_db()
    return run.state not in (*ACTIVE, "queued")


def trained(run: Run, steps: int) -> Callable[[], bool]:
    """Return a function: whether at least that many steps are recorded."""

    def reached() -> bool:
        run.refresh_from_db()
        return run.step >= steps

    return reached


def stored(run: Run, step: int) -> Callable[[], bool]:
    """Return a function: whether a checkpoint of that step is stored and training continued."""
    return lambda: trained(run, step + 2)() and run.checkpoints.filter(step__gte=step).exists()


def exits(run: Run) -> list[dict[str, Any] | None]:
    return list(Attempt.objects.filter(run=run).order_by("number").values_list("exit", flat=True))
