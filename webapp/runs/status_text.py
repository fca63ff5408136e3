"""Texts for pages: what a run is doing and how it ended."""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import Any

from trainer.exit_codes import ExitCode
from webapp.base.database_clock import database_now
from webapp.runs.models import ACTIVE, Attempt, Run, State

# A supervisor looks at its log five times a second, and a trainer reports progress up to twice a
# second.
SILENCE = timedelta(seconds=30)
# A client that logs has no heartbeat: a long validation may pass between two of its values.
CLIENT_SILENCE = timedelta(minutes=5)

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
# Other names for the states of runs that a client carries out elsewhere.
CLIENT_STATES = {State.RUNNING: "logging", State.COMPLETED: "finished"}
# The reason of imported runs whose files name no end; they are stored as stopped.
UNKNOWN_END = "The files do not say how the run ended."
PHASES = {
    "loading": "loading models and data",
    "pass_rates": "measuring the student's pass rate on every problem",
    "teacher_responses": "collecting the teacher's answers",
    "own_answers": "collecting the student's answers for pairs",
    "references": "computing the reference log-probs of pairs",
    "teacher_scores": "waiting for the teacher's scores",
    "training": "training",
    "evaluation": "evaluating on held-out problems",
    "checkpoint": "writing a checkpoint",
}
SIGNALS = {
    2: "It was interrupted from the keyboard.",
    6: "The program aborted itself.",
    9: "It was killed from outside, by a person or because the machine ran out of memory.",
    11: "The program crashed in native code.",
    15: "It was asked to leave before it could write a checkpoint.",
}
KILLED_FOR_MEMORY = "It was killed because the memory ran out."
KILLED_BY_SOMEBODY = "It was killed from outside, by a person or another program."


def state_of(run: Run) -> str:
    """Return the run's state as one word."""
    if run.source == Run.Source.IMPORTED and run.reason == UNKNOWN_END:
        return "unknown"
    if run.source != Run.Source.MANAGED:
        return CLIENT_STATES.get(State(run.state)) or run.state
    if run.state == State.QUEUED and run.on_hold:
        return "held"
    return (
        "pausing" if run.state == State.STOPPING and run.after_stop == State.PAUSED else run.state
    )


def silence_limit(run: Run) -> timedelta:
    """Return how long the run may send nothing before pages show it."""
    return SILENCE if run.source == Run.Source.MANAGED else CLIENT_SILENCE


def phase_of(run: Run) -> str:
    """Return what a managed run does now; empty once it has ended, and for runs of clients."""
    if run.source != Run.Source.MANAGED:
        return ""
    if run.state == State.QUEUED:
        return "on hold" if run.on_hold else STATES[State.QUEUED]
    if run.state not in ACTIVE:
        return ""
    phase = str(run.summary.get("phase") or "")
    return PHASES.get(phase, phase.replace("_", " ")) or "starting the trainer"


def duration_of(run: Run) -> float | None:
    """Return seconds from start to end, pauses between attempts included; None before the end."""
    if run.started_at is None or run.finished_at is None:
        return None
    return (run.finished_at - run.started_at).total_seconds()


def resumption_of(run: Run) -> str:
    """Explain an automatic restart: its cause, the step it resumed from, and what was abandoned.

    Empty if a person started the present attempt.
    """
    cause = (
        run.transitions.filter(state=State.QUEUED, attempt=run.attempt - 1).order_by("-pk").first()
    )
    attempts = {
        attempt.number: attempt for attempt in run.attempts.filter(number__gte=run.attempt - 1)
    }
    # A cause with an actor is a person's request, which needs no explanation.
    before, now = attempts.get(run.attempt - 1), attempts.get(run.attempt)
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
    sentences = [
        cause.reason,
        f"Resumed on {now.machines} from step {step:,}."
        if step
        else f"Started again from step 0 on {now.machines}.",
    ]
    if before.step > step:
        sentences.append(
            f"Steps {step + 1:,} to {before.step:,} of attempt {before.number} "
            "are its abandoned tail."
        )
    # A machine that was lost has not reported the end of its attempt.
    if before.finished_at is None:
        sentences.append(
            f"What {before.host} had not sent by then is missing until that machine is back."
        )
    return " ".join(sentences)


def is_silent(run: Run) -> bool:
    """Return whether an active run has sent nothing for a while. A badge, never a state."""
    since = run.last_event_at or run.started_at
    return run.state in ACTIVE and since is not None and database_now() - since > silence_limit(run)


def is_at_fault(run: Run) -> bool:
    """Return whether the run failed because of its definition: resuming it would fail again."""
    if run.state != State.FAILED:
        return False
    attempt = run.attempts.order_by("-number").first()
    return attempt is not None and (attempt.exit or {}).get("code") == ExitCode.REFUSED


def exit_of(attempt: Attempt) -> str:
    """Return a sentence on how an attempt's process ended; empty if it runs or is unknown."""
    exit: dict[str, Any] = attempt.exit or {}
    # Unknown, and in the reports of some programs missing, is neither true nor false.
    if exit.get("signal") == signal.SIGKILL and exit.get("out_of_memory") is not None:
        return KILLED_FOR_MEMORY if exit["out_of_memory"] else KILLED_BY_SOMEBODY
    if exit.get("signal"):
        return SIGNALS.get(exit["signal"], f"It was ended by signal {exit['signal']}.")
    code = exit.get("code")
    if code is None:
        return ""
    sentences = (known.sentence for known in ExitCode if known == code)
    return next(sentences, f"It ended with the unknown exit code {code}.")
