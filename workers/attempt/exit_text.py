"""How a trainer exited, explained to a person: the run's state, what happened and what to do."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

from trainer.exit_codes import ExitCode
from webapp.runs.models import State

VANISHED = (
    "The training process disappeared without a message: its machine was restarted, "
    "or the process and its watcher were killed."
)
USE_LESS_MEMORY = (
    "Lower the micro-batch, the generation rows or the longest answer, then resume or clone."
)


@dataclass(frozen=True)
class AttemptOutcome:
    """The state in which an attempt leaves its run, with cause and remedy as sentences.

    QUEUED means that the run continues in another attempt.
    """

    state: State
    reason: str = ""
    remedy: str = ""


def explain(
    exit: dict[str, Any] | None, end: dict[str, Any] | None, output: str, stop_requested: bool
) -> AttemptOutcome:
    """Explain how a trainer exited.

    `exit` is the exit recorder's report (None if the host or the recorder died too), `end` the
    trainer's own `end` event if it could write one, `output` the tail of what it printed.
    """
    code = exit["code"] if exit else None
    # The trainer writes its `end` event after it has saved everything. Whatever kills the process
    # after that does not change the outcome.
    outcome = (end or {}).get("outcome")
    if code == ExitCode.COMPLETED or outcome == "completed":
        reason, remedy = (end or {}).get("reason", ""), (end or {}).get("remedy", "")
        return AttemptOutcome(State.COMPLETED, reason, remedy)
    if code == ExitCode.STOPPED or outcome == "stopped":
        return AttemptOutcome(
            State.STOPPED, "Stopped on request; the last state is in a checkpoint."
        )
    if end and outcome == "failed":
        return AttemptOutcome(State.FAILED, end.get("reason", ""), end.get("remedy", ""))
    if exit and exit["signal"] is not None:
        return _killed(exit, stop_requested)
    if exit is None:
        return AttemptOutcome(State.QUEUED, VANISHED)
    return _unexplained(code, output)


def member_reason(exit: dict[str, Any] | None, output: str) -> str:
    """Return why a member's trainer exited.

    It writes no log, because the leading machine does; so its last line of output is the reason.
    """
    if exit is None:
        return VANISHED
    if exit["signal"] is not None:
        return _killed(exit, stop_requested=False).reason
    return _last_line(output)


def _killed(exit: dict[str, Any], stop_requested: bool) -> AttemptOutcome:
    name = signal.Signals(exit["signal"]).name
    if stop_requested and exit["signal"] == signal.SIGTERM:
        return AttemptOutcome(
            State.STOPPED,
            "Stopped while the trainer was still loading; "
            "nothing had been trained yet in this attempt.",
        )
    if stop_requested:
        return AttemptOutcome(
            State.STOPPED,
            f"Stopped at once by force ({name}).",
            "Resume continues from the last checkpoint.",
        )
    # Only SIGKILL: reports of earlier versions count kills of the whole host, and one that another
    # program suffered says nothing about a trainer that ended by another signal.
    if exit["signal"] == signal.SIGKILL and exit["out_of_memory"]:
        return AttemptOutcome(
            State.FAILED,
            "Out of memory: the system killed the training process, "
            f"which had used {exit['max_rss_bytes'] / 2**30:.1f} GiB.",
            USE_LESS_MEMORY,
        )
    if exit["signal"] == signal.SIGKILL and exit["out_of_memory"] is None:
        return AttemptOutcome(
            State.FAILED,
            "The training process was killed (SIGKILL), perhaps because the memory ran out; "
            f"it had used {exit['max_rss_bytes'] / 2**30:.1f} GiB. This system does not say.",
            "Resume to continue from the last checkpoint. If it is killed again, lower the "
            "micro-batch, the generation rows or the longest answer.",
        )
    return AttemptOutcome(
        State.FAILED,
        f"The training process was killed by signal {exit['signal']} ({name}), "
        "which somebody or something else sent.",
        "Resume to continue from the last checkpoint.",
    )


def _unexplained(code: int | None, output: str) -> AttemptOutcome:
    last = _last_line(output)
    if "No space left on device" in output:
        return AttemptOutcome(
            State.FAILED,
            "The disk is full: the training process could not write.",
            "Free some space, then resume.",
        )
    if "MemoryError" in last or "out of memory" in last.lower():
        return AttemptOutcome(State.FAILED, f"Out of memory: {last}", USE_LESS_MEMORY)
    return AttemptOutcome(
        State.FAILED,
        f"The training process ended with code {code}: {last}",
        "The log has the rest of what it printed.",
    )


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"
