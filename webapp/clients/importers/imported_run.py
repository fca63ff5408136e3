"""The result of reading files of other trackers, in one form for all formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from webapp.clients.client_batch import LoggedFile, LoggedValues, step
from webapp.clients.describe import MOST_NOT_KEPT
from webapp.clients.run_files import FileRefused, checked_path
from webapp.runs.event_rows import storable

# A little before the end of Python's calendar, so that a time fits it in every time zone.
LAST_MOMENT = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
# Characters of a message.
LONGEST_MESSAGE = 2000


# Reads the rows of a file with values, each with its byte offset.
RowReader = Callable[[Path], Iterator[tuple[int, dict[str, Any]]]]


class UnreadableFile(Exception):
    """A file cannot be read in its format; the message names file, position and error.

    What the message quotes of the file may be anything: it is made storable, and its middle is cut.
    """

    def __init__(self, message: str) -> None:
        half = LONGEST_MESSAGE // 2
        is_long = len(message) > LONGEST_MESSAGE
        super().__init__(storable(f"{message[:half]} … {message[-half:]}" if is_long else message))


class ImportedLog(NamedTuple):
    """Values at a byte offset of their file.

    `resumes`: a process that resumed the run at an earlier step logged them first.
    """

    offset: int
    log: LoggedValues
    resumes: bool = False


@dataclass(frozen=True)
class LogSource:
    """A file with values of a run; `logs` reads it from its start.

    `file` identifies the values by its content, together with `part` where a file has several runs.
    None: the run has a name of its own, and its values count once by their content. `by_content`:
    they do so too, though the file identifies the run. `head` is a digest of the file's first lines
    or records, by which earlier versions identified it. `is_csv`: the last row may have been read
    before all of it was written. `not_kept` are the names of values that are no numbers; they are
    added while `logs` is read.
    """

    logs: Callable[[], Iterator[ImportedLog]]
    file: Path | None = None
    head: UUID | None = None
    part: str = ""
    by_content: bool = False
    is_csv: bool = False
    not_kept: set[str] = field(default_factory=set)


# Makes the logs of a file from its rows, and notes the names of what is no number.
Rows = Callable[[Path, RowReader, set[str]], Iterator[ImportedLog]]


class MediaFile(NamedTuple):
    """A file beside those with values, which is stored under the run as `logged` says."""

    source: Path
    logged: LoggedFile


@dataclass(frozen=True)
class ImportedRun:
    """A run in files; `state` is its end, where known, with a `reason` if it failed.

    `key` is the run's id in its tracker; empty where files have none, so that they identify it.
    """

    client: str
    key: str
    name: str
    sources: Sequence[LogSource]
    project: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    state: str | None = None
    reason: str = ""
    files: Sequence[MediaFile] = ()


def media_file(folder: Path, path: str, **facts: Any) -> MediaFile | None:
    """Return the file at `path` below `folder`, with the facts of `LoggedFile`; None if not there.

    A link, which could lead to any file of the server, is none.
    """
    try:
        source = folder / checked_path(path)
    except FileRefused:
        return None
    is_inside = source.is_file() and source.resolve().is_relative_to(folder.resolve())
    return MediaFile(source, LoggedFile(path, **facts)) if is_inside else None


def note_not_kept(not_kept: set[str], names: Iterable[str]) -> None:
    """Add names of values that are no numbers, as many as a run lists."""
    if len(not_kept) < MOST_NOT_KEPT:
        not_kept.update(names)


def checked_values(
    values: dict[str, float], step_value: object, moment: object, where: str
) -> LoggedValues:
    """A log with step and time (Unix seconds, 0: unknown) within the limits of storage.

    Raises UnreadableFile, which names the position `where`.
    """
    valid_step = step(step_value)
    if step_value is None:
        raise UnreadableFile(f"{where} has values and no step.")
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
