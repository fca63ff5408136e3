"""Lines on stderr for a person who follows a run: messages, evaluations and progress."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

PROGRESS_SECONDS = 10.0


class Console:
    """A listener of the event log that prints lines to stderr."""

    def __init__(self) -> None:
        self._progress_time = time.monotonic()
        self._loss = ""

    def __call__(self, type: str, fields: dict[str, Any]) -> None:
        line = self._line(type, fields)
        if line:
            with contextlib.suppress(OSError, ValueError):  # stderr was closed
                print(line, file=sys.stderr, flush=True)

    def _line(self, type: str, fields: dict[str, Any]) -> str:
        if type == "log":
            return str(fields["message"]) if fields["level"] != "error" else ""
        if type == "evaluation":
            return _evaluation(fields)
        if type == "metrics" and "loss" in fields["values"]:
            self._loss = f", loss {fields['values']['loss']:.4g}"
        if type == "progress" and time.monotonic() - self._progress_time >= PROGRESS_SECONDS:
            self._progress_time = time.monotonic()
            return self._progress(fields)
        return ""

    def _progress(self, fields: dict[str, Any]) -> str:
        phase = fields["phase"].replace("_", " ")
        detail = "" if phase == "training" else f", {phase} {fields['done']:,} of {fields['of']:,}"
        return f"Step {fields['step']:,} of {fields['total_steps']:,}{detail}{self._loss}"


def _evaluation(fields: dict[str, Any]) -> str:
    low, high = fields["interval"]
    problems = {"evaluation": "held-out problems", "retained": "retained problems"}[fields["role"]]
    rate = f"{fields['pass_rate']:.1%} of the {problems} passed ({low:.1%} to {high:.1%})"
    return f"Step {fields['step']:,}: {rate}"
