"""What a run is doing and how it ended, in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from webapp.runs.models import ACTIVE, Attempt, Run, State

SILENCE = timedelta(seconds=30)

STATES = {
    State.QUEUED: "waiting for a worker",
    State.STARTING: "starting",
    State.RUNNING: "running",
    State.STOPPING: "stopping",
    State.STOPPED: "stopped",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
}
PHASES = {
    "loading": "loading models and data",
    "pass_rates": "measuring the student's pass rate on every problem",
    "teacher_responses": "collecting the teacher's answers",
    "training": "training",
    "evaluation": "evaluating on held-out problems",
    "checkpoint": "writing a checkpoint",
}
CODES = {
    0: "It finished what it was asked to do.",
    64: "The definition, the data or a model could not be used.",
    65: "The loss was no longer a number.",
    70: "An error ended it.",
    74: "The disk was full.",
    75: "It stopped on request, after writing a checkpoint.",
}
SIGNALS = {
    2: "It was interrupted from the keyboard.",
    6: "The program aborted itself.",
    9: "It was killed from outside, by a person or because the machine ran out of memory.",
    11: "The program crashed in native code.",
    15: "It was asked to leave before it could write a checkpoint.",
}


def phase_of(run: Run) -> str:
    """What the run does now; empty once it has ended."""
    if run.state == State.QUEUED:
        return "waiting for a worker"
    if run.state not in ACTIVE:
        return ""
    phase = str(run.summary.get("phase") or "")
    return PHASES.get(phase, phase.replace("_", " ")) or "starting the trainer"


def is_silent(run: Run) -> bool:
    """Whether a run that should be working has sent nothing for a while. A badge, never a state."""
    since = run.last_event_at or run.started_at
    return run.state in ACTIVE and since is not None and timezone.now() - since > SILENCE


def exit_of(attempt: Attempt) -> str:
    """How an attempt's process ended, in a sentence; empty while it runs or where nothing is known."""
    exit: dict[str, Any] = attempt.exit or {}
    if exit.get("signal"):
        return SIGNALS.get(exit["signal"], f"It was ended by signal {exit['signal']}.")
    if exit.get("code") is not None:
        return CODES.get(exit["code"], f"It ended with the unknown exit code {exit['code']}.")
    return ""
