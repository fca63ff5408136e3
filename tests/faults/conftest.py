"""Real supervisors and trainers on the test database, with a run that is small but does everything."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import trainer.spec
from webapp.runs import lifecycle
from webapp.runs.models import ACTIVE, Attempt, Event, Run
from webapp.teams.models import Team
from workers import host
from workers.placement import place
from workers.trainer_process import TrainerProcess

PATIENCE_SECONDS = 120


def definition(**changes: Any) -> dict[str, Any]:
    """Both stages, pass rates, evaluations and checkpoints, on the built-in pair."""
    spec = {
        "name": "small",
        "data": {"train": {"kind": "arithmetic", "families": ["add"], "levels": [1, 2], "count": 40}},
        "pool": {"rollouts_per_problem": 2, "weighting": {"kind": "uniform"}, "track_problems": 4},
        "stages": [
            {
                "name": "forward",
                "source": "teacher_written",
                "objective": {"kind": "forward_kl"},
                "problems_per_step": 4,
                "until": {"steps": 12},
            },
            {"name": "on-policy", "source": "student_rollouts", "problems_per_step": 4, "until": {"steps": 12}},
        ],
        "evaluation": {"every": 6, "final_samples": 1, "pass_at": [1]},
        "checkpoints": {"every": 4},
    }
    return trainer.spec.to_dict(trainer.spec.load(spec | changes))


@pytest.fixture
def team(transactional_db: None, child_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    """The processes that a test starts inherit the test database; none survives the test."""
    monkeypatch.setenv("DATABASE_URL", child_environment["DATABASE_URL"])
    monkeypatch.setattr(host, "LEASE_SECONDS", 1.0)
    yield Team.objects.create(name="Cellar", slug="cellar")
    for run in Run.objects.filter(state__in=ACTIVE):
        process_of(run).kill()
        until(partial(over, run))


def start(team: Team, **changes: Any) -> Run:
    run = lifecycle.create_run(team, None, definition(**changes))
    assert place(run.pk)
    run.refresh_from_db()
    return run


def process_of(run: Run) -> TrainerProcess:
    run.refresh_from_db()
    return TrainerProcess(host.attempt_folder(run.public_id, run.attempt))


def until(condition: Callable[[], Any], patience: float = PATIENCE_SECONDS) -> Any:
    deadline = time.monotonic() + patience
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


def log_of(run: Run, attempt: int) -> Path:
    return host.attempt_folder(run.public_id, attempt) / "events"


def recorded_sequences(run: Run, attempt: int) -> set[int]:
    """Every event of an attempt that Postgres holds, whatever table it went to."""
    from webapp.metrics.models import Point

    points = Point.objects.filter(run=run, attempt=attempt).values_list("seq", flat=True)
    return set(points) | set(Event.objects.filter(run=run, attempt=attempt).values_list("seq", flat=True))


def exits(run: Run) -> list[dict[str, Any] | None]:
    return list(Attempt.objects.filter(run=run).order_by("number").values_list("exit", flat=True))
