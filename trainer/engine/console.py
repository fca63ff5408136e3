"""What a person at a terminal sees of a run while it goes on: its messages, its evaluations, and
now and then how far it is.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

SECONDS = 10.0


class Console:
    """Hears the events of a run and prints lines to stderr."""

    def __init__(self) -> None:
        self._shown = time.monotonic()
        self._loss = ""

    def __call__(self, type: str, fields: dict[str, Any]) -> None:
        line = self._line(type, fields)
        if line:
            with contextlib.suppress(OSError, ValueError):  # nobody listens any more
                print(line, file=sys.stderr, flush=True)

    def _line(self, type: str, fields: dict[str, Any]) -> str:
        if type == "log":
            return str(fields["message"]) if fields["level"] != "error" else ""
        if type == "evaluation":
            return _evaluation(fields)
        if type == "metrics" and "loss" in fields["values"]:
            self._loss = f", loss {fields['values']['loss']:.4g}"
        if type == "progress" and time.monotonic() - self._shown >= SECONDS:
            self._shown = time.monotonic()
            return self._progress(fields)
        return ""

    def _progress(self, fields: dict[str, Any]) -> str:
        phase = fields["phase"].replace("_", " ")
        part = "" if phase == "training" else f", {phase} {fields['done']:,} of {fields['of']:,}"
        return f"Step {fields['step']:,} of {fields['total_steps']:,}{part}{self._loss}"


def _evaluation(fields: dict[str, Any]) -> str:
    low, high = fields["interval"]
    problems = {"evaluation": "held-out problems", "retained": "retained problems"}[fields["role"]]
    return f"Step {fields['step']:,}: {fields['pass_rate']:.1%} of the {problems} passed ({low:.1%} to {high:.1%})"
