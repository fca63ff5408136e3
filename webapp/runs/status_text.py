"""What a run is doing and how it ended, in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from webapp.runs.models import ACTIVE, Attempt, Run, State

SILENCE = timedelta(seconds=30)
CLIENTS_SILENCE = timedelta(minutes=5)
"""A client that logs has no heartbeat: between two of its values may lie a long validation."""

STATES = {
    State.QUEUED: "waiting for devices",
    State.STARTING: "starting",
    State.RUNNING: "running",
    State.STOPPING: "stopping",
    State.PAUSED: "paused",
    State.STOPPED: "stopped",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
}
CLIENTS_STATES = {State.RUNNING: "logging", State.COMPLETED: "finished"}
"""What is said otherwise of runs that are carried out elsewhere."""
PHASES = {
    "loading": "loading models and data",
    "pass_rates": "measuring the student's pass rate on every problem",
    "teacher_responses": "collecting the teacher's answers",
    "training": "training",
    "evaluation": "evaluating on held-out problems",
    "checkpoint": "writing a checkpoint",
}
UNUSABLE = 64
CODES = {
    0: "It finished what it was asked to do.",
    UNUSABLE: "The definition, the data or a model could not be used.",
    65: "The loss was no longer a number.",
    69: "The other machines of the run did not answer any more.",
    70: "An error ended it.",
    71: "A process of it died without a word.",
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


def state_of(run: Run) -> str:
    """The run's state in a word."""
    if run.source != Run.Source.MANAGED:
        return CLIENTS_STATES.get(State(run.state)) or run.state
    if run.state == State.QUEUED and run.on_hold:
        return "held"
    return (
        "pausing" if run.state == State.STOPPING and run.after_stop == State.PAUSED else run.state
    )


def silence_limit(run: Run) -> timedelta:
    """How long the run may say nothing before that is shown."""
    return SILENCE if run.source == Run.Source.MANAGED else CLIENTS_SILENCE


def phase_of(run: Run) -> str:
    """What the run does now; empty once it has ended, and for one that is carried out elsewhere."""
    if run.source != Run.Source.MANAGED:
        return ""
    if run.state == State.QUEUED:
        return "on hold" if run.on_hold else STATES[State.QUEUED]
    if run.state not in ACTIVE:
        return ""
    phase = str(run.summary.get("phase") or "")
    return PHASES.get(phase, phase.replace("_", " ")) or "starting the trainer"


def duration_of(run: Run) -> float | None:
    """Seconds from the start to the end, pauses between attempts included; None before the end."""
    if run.started_at is None or run.finished_at is None:
        return None
    return (run.finished_at - run.started_at).total_seconds()


def resumption_of(run: Run) -> str:
    """Why the present attempt was begun by itself, from which step, and what of the one before it
    is left; empty for any other attempt.
    """
    cause = (
        run.transitions.filter(state=State.QUEUED, attempt=run.attempt - 1).order_by("-pk").first()
    )
    tries = {
        attempt.number: attempt for attempt in run.attempts.filter(number__gte=run.attempt - 1)
    }
    before, now = tries.get(run.attempt - 1), tries.get(run.attempt)
    if (
        before is None
        or now is None
        or cause is None
        or cause.actor_id is not None
        or not cause.reason
    ):
        return ""
    rewind = run.events.filter(attempt=now.number, type="rewind").order_by("seq").first()
    if rewind is None:
        return f"{cause.reason} It is being resumed on {now.machines}."
    step = max(rewind.step or 0, 0)
    told = [
        cause.reason,
        f"Resumed on {now.machines} from step {step:,}."
        if step
        else f"Begun anew on {now.machines}.",
    ]
    if before.step > step:
        told.append(
            f"Steps {step + 1:,} to {before.step:,} of attempt {before.number} are its abandoned tail."
        )
    if before.finished_at is None:
        told.append(f"What {before.host} had not sent by then is missing until it is back.")
    return " ".join(told)


def is_silent(run: Run) -> bool:
    """Whether a run that should be working has sent nothing for a while. A badge, never a state."""
    since = run.last_event_at or run.started_at
    return run.state in ACTIVE and since is not None and timezone.now() - since > silence_limit(run)


def is_at_fault(run: Run) -> bool:
    """Whether the run failed because of its definition, so that resuming it would fail again."""
    if run.state != State.FAILED:
        return False
    attempt = run.attempts.order_by("-number").first()
    return attempt is not None and (attempt.exit or {}).get("code") == UNUSABLE


def exit_of(attempt: Attempt) -> str:
    """How an attempt's process ended, in a sentence; empty while it runs or where nothing is
    known.
    """
    exit: dict[str, Any] = attempt.exit or {}
    if exit.get("signal"):
        return SIGNALS.get(exit["signal"], f"It was ended by signal {exit['signal']}.")
    if exit.get("code") is not None:
        return CODES.get(exit["code"], f"It ended with the unknown exit code {exit['code']}.")
    return ""
