"""The result of reading files of other trackers, in one form for all formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from webapp.clients.client_batch import LoggedValues, step

# A little before the end of Python's calendar, so that a time fits it in every time zone.
LAST_MOMENT = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
LogAtOffset = tuple[int, LoggedValues]  # byte offset in the file, and the values there


class UnreadableFile(Exception):
    """A file cannot be read in its format; the message names file, position and error."""


@dataclass(frozen=True)
class LogSource:
    """A file with values of a run; `logs` reads it from its start.

    `head` identifies the file and stays the same when the file grows. Without a `head` values count
    once by their content.
    """

    head: UUID | None
    logs: Callable[[], Iterator[LogAtOffset]]


@dataclass(frozen=True)
class ImportedRun:
    """A run in files. `key` identifies it at every import; `state` is its end, where known."""

    client: str
    key: str
    name: str
    sources: Sequence[LogSource]
    project: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    state: str | None = None


def checked_values(
    values: dict[str, float], step_value: object, moment: object, where: str
) -> LoggedValues:
    """A log with step and time (Unix seconds, 0: unknown) within the limits of storage.

    Raises UnreadableFile, which names the position `where`.
    """
    valid_step = step(step_value)
    if valid_step is None:
        raise UnreadableFile(
            f"{where} has the step {_shortened(step_value)}, which is no whole number between "
            f"-2^62 and 2^62."
        )
    if not isinstance(moment, int | float) or not 0 <= moment < LAST_MOMENT:
        raise UnreadableFile(
            f"{where} has the time {_shortened(moment)}, which is no moment of the calendar."
        )
    return LoggedValues(values, valid_step, float(moment))


def _shortened(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else f"{str(value)[:40]!r}"
