"""What a reader of files finds, in one shape for all formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from webapp.clients.logs import Log, step

LAST_MOMENT = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
Placed = tuple[int, Log]
"""A log, and the byte of its file at which it stands."""


class Unreadable(Exception):
    """A file is not what it should be; the message says which, where in it, and what is wrong."""


@dataclass(frozen=True)
class Source:
    """A file with values of a run. `head` is the same whenever it is read, also after it has grown;
    `logs` reads it from its beginning.

    Without a `head` its values count once by what they say.
    """

    head: UUID | None
    logs: Callable[[], Iterator[Placed]]


@dataclass(frozen=True)
class Found:
    """A run in files. `key` is the same whenever these files are read; `state` is how the run
    ended, where the files say so.
    """

    client: str
    key: str
    name: str
    sources: Sequence[Source]
    project: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    state: str | None = None


def logged(values: dict[str, float], at: object, moment: object, where: str) -> Log:
    """A log with its step and time (Unix seconds, 0: unknown) as they can be stored. Raises
    Unreadable, which names the place `where`.
    """
    number = step(at)
    if number is None:
        raise Unreadable(
            f"{where} has the step {_told(at)}, which is no whole number between -2^62 and 2^62."
        )
    if not isinstance(moment, int | float) or not 0 <= moment < LAST_MOMENT:
        raise Unreadable(
            f"{where} has the time {_told(moment)}, which is no moment of the calendar."
        )
    return Log(values, number, float(moment))


def _told(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else f"{str(value)[:40]!r}"
