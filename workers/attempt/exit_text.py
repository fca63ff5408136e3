"""How a trainer's end is told to a person: what happened and what to do, in words."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

from trainer.exit_codes import (
    COMPLETED,
    STOPPED,
)
from webapp.runs.models import State

VANISHED = "The training process disappeared without a word: its machine was restarted, or the process and its watcher were killed."


@dataclass(frozen=True)
class Ending:
    """The state that a run ends in, with the cause and the remedy as sentences. `queued`: it goes
    on in another attempt.
    """

    state: State
    reason: str = ""
    remedy: str = ""


def explain(
    exit: dict[str, Any] | None, end: dict[str, Any] | None, output: str, stop_requested: bool
) -> Ending:
    """Tell how a trainer ended.

    `exit` is the shim's report (None if the host or the shim died too), `end` the trainer's own
    last event if it could write one, `output` the tail of what it printed.
    """
    code = exit["code"] if exit else None
    outcome = (end or {}).get(
        "outcome"
    )  # said when all was saved: what hits the process after that changes nothing
    if code == COMPLETED or outcome == "completed":
        return Ending(State.COMPLETED, (end or {}).get("reason", ""), (end or {}).get("remedy", ""))
    if code == STOPPED or outcome == "stopped":
        return Ending(State.STOPPED, "Stopped on request; the last state is in a checkpoint.")
    if end and outcome == "failed":
        return Ending(State.FAILED, end.get("reason", ""), end.get("remedy", ""))
    if exit and exit["signal"] is not None:
        return _killed(exit, stop_requested)
    if exit is None:
        return Ending(State.QUEUED, VANISHED)
    return _unexplained(code, output)


def told(exit: dict[str, Any] | None, output: str) -> str:
    """Why a trainer ended that writes no log, because another machine of the run does: its own last
    words, where it had any.
    """
    if exit is None:
        return VANISHED
    if exit["signal"] is not None:
        return _killed(exit, stop_requested=False).reason
    return _last_line(output)


def _killed(exit: dict[str, Any], stop_requested: bool) -> Ending:
    name = signal.Signals(exit["signal"]).name
    if stop_requested and exit["signal"] == signal.SIGTERM:
        return Ending(
            State.STOPPED,
            "Stopped while the trainer was still loading; nothing had been trained yet in this attempt.",
        )
    if stop_requested:
        return Ending(
            State.STOPPED,
            f"Stopped at once by force ({name}).",
            "Resume goes on from the last checkpoint.",
        )
    if exit["signal"] == signal.SIGKILL and exit["out_of_memory"]:
        return Ending(
            State.FAILED,
            f"Out of memory: the system killed the training process, which had used {exit['max_rss_bytes'] / 2**30:.1f} GiB.",
            "Lower the micro-batch, the generation rows or the longest answer, then resume or clone.",
        )
    return Ending(
        State.FAILED,
        f"The training process was killed by signal {exit['signal']} ({name}), which somebody or something else sent.",
        "Resume to go on from the last checkpoint.",
    )


def _unexplained(code: int | None, output: str) -> Ending:
    last = _last_line(output)
    if "No space left on device" in output:
        return Ending(
            State.FAILED,
            "The disk is full: the training process could not write.",
            "Free some space, then resume.",
        )
    if "MemoryError" in last or "out of memory" in last.lower():
        return Ending(
            State.FAILED,
            f"Out of memory: {last}",
            "Lower the micro-batch, the generation rows or the longest answer, then resume or clone.",
        )
    return Ending(
        State.FAILED,
        f"The training process ended with code {code}: {last}",
        "The log has the rest of what it printed.",
    )


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"
