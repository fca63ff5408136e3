"""Lines on stderr for a person who follows a run: messages, evaluations and progress."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

# The log has progress twice a second; a person reads a line every few seconds at most.
PROGRESS_SECONDS = 10.0


class Console:
    """A listener of the event log that prints lines to stderr."""

    def __init__(self) -> None:
        self._progress_time = time.monotonic()
        self._loss = ""

    def __call__(self, type: str, fields: dict[str, Any]) -> None:
        line = self._line(type, fields)
        if line:
            # The terminal or the reader of a pipe may be gone, which must not end the training.
            with contextlib.suppress(OSError, ValueError):
                print(line, file=sys.stderr, flush=True)

    def _line(self, type: str, fields: dict[str, Any]) -> str:
        # The only error in the log is a traceback, which `engine.run` has printed already.
        if type == "log":
            return str(fields["message"]) if fields["level"] != "error" else ""
        if type == "evaluation":
            low, high = fields["interval"]
            # Not “held-out”: those of a test-time cohort are trained on.
            role = {"evaluation": "evaluation", "retained": "retained"}[fields["role"]]
            return (
                f"Step {fields['step']:,}: {fields['pass_rate']:.1%} of the {role} problems passed "
                f"({low:.1%} to {high:.1%})"
            )
        if type == "metrics" and "loss" in fields["values"]:
            self._loss = f", loss {fields['values']['loss']:.4g}"
        if type == "progress" and time.monotonic() - self._progress_time >= PROGRESS_SECONDS:
            self._progress_time = time.monotonic()
            phase = fields["phase"].replace("_", " ")
            detail = f", {phase} {fields['done']:,} of {fields['of']:,}"
            return (
                f"Step {fields['step']:,} of {fields['total_steps']:,}"
                f"{detail if phase != 'training' else ''}{self._loss}"
            )
        return ""
