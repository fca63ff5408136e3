"""The event log: the numbered, append-only record of a run, and its only output while it trains.

A log is a folder of segments `000001.jsonl`, `000002.jsonl`, …; every line is one JSON object that
begins with `v, attempt, seq, wall_time, monotonic, type`. `event_types` lists the types. NaN and
infinities are written as the strings "NaN", "Infinity" and "-Infinity", because JSON has no others.

Each emit is one unbuffered append to the operating system, so that a killed process loses nothing.
`fsync` runs at most once a second, in a thread that never blocks `emit`; it bounds the loss on a
power failure. When the disk is full, `failure` says so and the training loop stops at the next step
boundary. Until then lines are written into disk space that was reserved when the log was opened,
and wait in memory if even that cannot be used. `emit` never raises into training.

This module imports neither torch nor numpy, because the process that forwards a log uses it too.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from trainer import json_numbers

VERSION = 1
SEGMENT_BYTES = 64 << 20
# Most that waits in memory; later events are dropped and counted.
WAITING_BYTES = 64 << 20
# Room for the last events of a run on a full disk.
RESERVE_BYTES = 1 << 20
# The age of the events that a power failure can take.
SYNC_SECONDS = 1.0
# No space, over quota, file too large: what a user calls a full disk.
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Numbers of events are below it: half of the range of a bigint column.
MAX_SEQ = 2**62
HEAD = ("v", "attempt", "seq", "wall_time", "monotonic", "type")


class EventLog:
    """The writer of one attempt's log.

    Opening a folder that has events continues their numbering in a new segment. `listener` is
    called with type and fields of each event. Raises OSError if the log cannot be created.
    """

    def __init__(
        self,
        folder: Path,
        attempt: int,
        segment_bytes: int = SEGMENT_BYTES,
        waiting_bytes: int = WAITING_BYTES,
        listener: Callable[[str, dict[str, Any]], None] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.attempt, self.seq = folder, attempt, last_seq(folder)
        self.dropped = 0
        self._listener = listener
        self._write_error = self._sync_error = ""
        self._segment_bytes, self._waiting_bytes = segment_bytes, waiting_bytes
        self._waiting: deque[bytes] = deque()
        self._waiting_size = 0
        # Held while a line is numbered and written, so that lines are in the order of their
        # numbers, and while the syncer collects its files; never during an fsync, which may take
        # seconds.
        self._lock = threading.Lock()
        self._number = int(segments(folder)[-1].stem) if segments(folder) else 0
        # Full segments that are not synced yet. `emit` leaves their fsync to the thread.
        self._full: list[int] = []
        self._file = self._next_segment()
        self._written, self._at_line_start, self._unsynced, self._unnamed = 0, True, False, True
        self._reserve = DiskReserve(folder / "reserve")
        self._reserve.allocate()
        self._closed = threading.Event()
        # A daemon, so that a log that nobody closed does not keep the process from ending.
        self._syncer = threading.Thread(
            target=self._sync_regularly, name="event-log-sync", daemon=True
        )
        self._syncer.start()

    @property
    def failure(self) -> str:
        """Why the log cannot be written, in a few words; empty if it can."""
        return self._write_error or self._sync_error

    def emit(self, type: str, **fields: Any) -> None:
        """Append one event.

        Fields should be JSON-like (numbers, strings, lists, mappings); others are written as text.
        """
        with self._lock:
            self.seq += 1
            head = {
                "v": VERSION,
                "attempt": self.attempt,
                "seq": self.seq,
                "wall_time": time.time(),
                "monotonic": time.monotonic(),
            }
            self._append(encode_line({**head, "type": type, **fields}))
        # Outside the lock: a listener that prints to a slow terminal must not hold up other
        # threads.
        if self._listener is not None:
            self._listener(type, fields)

    def log(self, level: str, message: str) -> None:
        self.emit("log", level=level, message=message)

    def close(self) -> None:
        """Write waiting lines, sync and close; `dropped` counts what a full disk still refuses."""
        # Joined first: a sync in progress must not use the file after it is closed below.
        self._closed.set()
        self._syncer.join()
        with self._lock:
            self._drain()
            self.dropped += len(self._waiting)
        self._sync()
        os.close(self._file)
        self._reserve.release()

    def _append(self, line: bytes) -> None:
        if self._waiting_size + len(line) > self._waiting_bytes:
            self.dropped += 1
            return
        self._waiting.append(line)
        self._waiting_size += len(line)
        self._drain()

    def _drain(self) -> None:
        """Write waiting lines in order; on an error release the reserve and try once more.

        `failure` is set until disk space can be reserved again.
        """
        while self._waiting:
            try:
                self._write_first()
            except OSError as error:
                cause = "the disk is full: " * (error.errno in DISK_FULL_ERRNOS)
                self._write_error = (
                    f"the event log cannot be written: {cause}{error.strerror or error}"
                )
                # Freed only once. Without the reserve the lines wait in memory for the next emit.
                if not self._reserve.release():
                    return
        # There is space again only if the reserve fits too, or the last events of the run would
        # find none when the disk is full a second time.
        if self._write_error and self._reserve.allocate():
            self._write_error = ""

    def _write_first(self) -> None:
        """Write the first waiting line, or what is missing of it after a full disk cut it."""
        # Never in the middle of a line: the reader takes an incomplete line at the end of an older
        # segment for one that a crash cut.
        if self._written >= self._segment_bytes and self._at_line_start:
            # Opened before anything is changed, because it fails on a full disk.
            file = self._next_segment()
            self._full.append(self._file)
            self._file, self._written, self._unnamed = file, 0, True
        # A write to a nearly full disk may take only the first bytes and report no error.
        line = self._waiting[0]
        count = os.write(self._file, line)
        self._written += count
        self._waiting_size -= count
        self._unsynced = True
        self._at_line_start = count == len(line)
        if self._at_line_start:
            self._waiting.popleft()
        else:
            self._waiting[0] = line[count:]

    def _next_segment(self) -> int:
        path = self.folder / f"{self._number + 1:06d}.jsonl"
        # O_EXCL: a second writer of this folder fails here, before it can mix its lines in.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o644)
        self._number += 1
        return file

    def _sync_regularly(self) -> None:
        while not self._closed.wait(SYNC_SECONDS):
            self._sync()

    def _sync(self) -> None:
        """Call fsync on what was written since the last call.

        It may take long, so the lock is held only to collect the files, not while they are synced.
        """
        with self._lock:
            full, self._full = self._full, []
            newest, self._unsynced = [self._file] if self._unsynced else [], False
            unnamed, self._unnamed = self._unnamed, False
        try:
            for file in full + newest:
                os.fsync(file)
            if unnamed:
                sync_folder(self.folder)
        except OSError as error:
            # Never cleared: the system forgets which pages it could not write, so that a later
            # fsync would succeed although data is lost.
            self._sync_error = f"the event log cannot be synced: {error.strerror or error}"
        for file in full:
            os.close(file)


class DiskReserve:
    """Disk space for the last events of a run: a file that is deleted when the disk is full."""

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path, self._size = path, size

    def allocate(self) -> bool:
        """Reserve the space, if it is not yet; return whether it is reserved."""
        try:
            # `truncate` would make a sparse file, which reserves nothing.
            with self._path.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
            return True
        except OSError:
            # A part of the space is of no use here and may be what another program needs.
            self.release()
            return False

    def release(self) -> bool:
        """Delete the file; return whether the whole space was reserved."""
        try:
            was_reserved = self._path.stat().st_size == self._size
            self._path.unlink()
        except OSError:
            return False
        return was_reserved


class LogReader:
    """Reads a log while it grows; each call of `poll` continues after the last event read.

    `damage` lists what could not be read: a line that is not JSON, or one that a crash cut at the
    end of a segment. A last line without its end in the newest segment may still be being written:
    it is left for the next poll, and `has_partial_line` is true. `has_more` says that the last
    `read_batch` may have left events.
    """

    def __init__(self, folder: Path, since_seq: int = 0) -> None:
        self.folder, self.seq = folder, since_seq
        self.damage: list[str] = []
        self.has_partial_line = self.has_more = False
        self._segment: Path | None = None
        self._offset = self._consumed = 0

    def read_batch(self, count: int, size: int) -> list[dict[str, Any]]:
        """Return the next events: at most `count`, up to the one that reaches `size` bytes."""
        events: list[dict[str, Any]] = []
        end, self.has_more = self._consumed + size, False
        for event in self.poll():
            events.append(event)
            self.has_more = len(events) >= count or self._consumed >= end
            if self.has_more:
                break
        return events

    def poll(self) -> Iterator[dict[str, Any]]:
        paths = segments(self.folder)
        if self._segment is None and paths:
            self._segment = _segment_after(paths, self.seq)
        for path in paths:
            if self._segment is None or path.name < self._segment.name:
                continue
            if path != self._segment:
                self._segment, self._offset = path, 0
            yield from self._events_of(path, newest=path == paths[-1])

    def _events_of(self, path: Path, newest: bool) -> Iterator[dict[str, Any]]:
        self.has_partial_line = False
        with path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    self.has_partial_line = newest
                    if not newest:
                        self.damage.append(
                            f"{path.name} ends in the middle of a line, which was lost when its "
                            "writer died"
                        )
                    return
                self._offset += len(line)
                self._consumed += len(line)
                # Skips what was read before, where reading began inside a segment.
                event = self._parse(line, path)
                if event is not None and event["seq"] > self.seq:
                    self.seq = event["seq"]
                    yield event

    def _parse(self, line: bytes, path: Path) -> dict[str, Any] | None:
        event = _event_in(line)
        if event is None:
            self.damage.append(
                f"{path.name} has an unreadable line after event {self.seq}: {line[:80]!r}"
            )
        return event


def read(folder: Path, since_seq: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the events of a log folder after `since_seq`, up to the last complete line."""
    return LogReader(folder, since_seq).poll()


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.jsonl"))


def last_seq(folder: Path) -> int:
    """Return the number of the last complete event in a log folder; 0 if there is none."""
    for path in reversed(segments(folder)):
        # Without the piece after the last line break, which is empty or was cut by a crash.
        for line in reversed(path.read_bytes().split(b"\n")[:-1]):
            if event := _event_in(line):
                return int(event["seq"])
    return 0


def is_seq(value: object) -> bool:
    """Return whether a value can be the number of an event, which a bigint column holds."""
    # JSON's true is an int of Python too.
    return type(value) is int and 0 < value < MAX_SEQ


def _event_in(line: bytes) -> dict[str, Any] | None:
    """Return the event of a line; None if it is no JSON object with a number of its own."""
    try:
        event = json.loads(line)
    # RecursionError comes from a line that nests thousands of brackets.
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and is_seq(event.get("seq")) else None


def encode_line(event: dict[str, Any]) -> bytes:
    """Return the log line of an event, whatever its fields hold.

    If nothing else helps, the line has only the head and the name of the error (`unwritable`).
    """
    try:
        return (
            to_json(event, inf_nan_mode=json_numbers.PYDANTIC_MODE, fallback=to_json_value) + b"\n"
        )
    # Any exception: a field may be an object of the caller whose `__str__` fails in its own way.
    except Exception:
        return _encode_slowly(event)


def _encode_slowly(event: dict[str, Any]) -> bytes:
    """Encode what pydantic cannot: lone surrogates, endless nesting, objects whose str raises."""
    try:
        return (
            json.dumps(to_json_value(event), ensure_ascii=False, separators=(",", ":")).encode(
                "utf-8", "replace"
            )
            + b"\n"
        )
    except Exception as error:
        head = {name: event[name] for name in HEAD}
        return json.dumps({**head, "unwritable": type(error).__name__}).encode() + b"\n"


def to_json_value(value: Any) -> Any:
    """Return `value` as JSON values: non-finite floats and unknown objects become strings."""
    if isinstance(value, float):
        return json_numbers.encode(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, dict):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(item) for item in value]
    # Tensors and arrays, without importing torch or numpy.
    if hasattr(value, "tolist"):
        return to_json_value(value.tolist())
    return str(value)


def sync_folder(folder: Path) -> None:
    """Make names that were created or renamed in `folder` survive a power failure (fsync)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _segment_after(paths: list[Path], since_seq: int) -> Path:
    """Return the segment to start reading at: the last whose first event is ≤ `since_seq` + 1."""
    for path in reversed(paths):
        with path.open("rb") as file:
            event = _event_in(file.readline())
        if event and event["seq"] <= since_seq + 1:
            return path
    return paths[0]
