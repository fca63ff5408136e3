"""The event log: the one way in which a trainer talks to the world. Numbered, append-only, replayable.

A log is a folder of segments `000001.jsonl`, `000002.jsonl`, …; every line is one JSON object that begins with
`v, attempt, seq, wall_time, monotonic, type`. `docs/events.md` lists the types. NaN and infinities are written as the strings
"NaN", "Infinity" and "-Infinity", because JSON has no others.

Each emit is one unbuffered append to the operating system, so that a killed process loses nothing; only `fsync` is grouped (at
most one second, which bounds the loss on power failure). When the disk is full, lines wait in memory and `trouble` says so: the
training loop stops at the next step boundary, before anything is dropped. `emit` never raises into training.

This module imports neither torch nor numpy: the process that forwards a log uses it too.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VERSION = 1
SEGMENT_BYTES = 64 << 20
WAITING_BYTES = 64 << 20
SYNC_SECONDS = 1.0


class EventLog:
    """Writer of one attempt's log. Opening a folder that holds events continues their numbering in a new segment."""

    def __init__(self, folder: Path, attempt: int, segment_bytes: int = SEGMENT_BYTES, waiting_bytes: int = WAITING_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.attempt, self.seq = folder, attempt, last_seq(folder)
        self.trouble = ""
        self.dropped = 0
        self._segment_bytes, self._waiting_bytes = segment_bytes, waiting_bytes
        self._waiting: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._number = int(segments(folder)[-1].stem) if segments(folder) else 0
        self._file = -1
        self._written, self._at_line_start, self._unsynced = 0, True, False
        self._closed = threading.Event()
        self._open_next()
        self._syncer = threading.Thread(target=self._sync_regularly, name="event-log-sync", daemon=True)
        self._syncer.start()

    def emit(self, type: str, **fields: Any) -> None:
        """Append one event. Fields must be JSON-like (numbers, strings, lists, mappings); anything else is written as text."""
        with self._lock:
            self.seq += 1
            head = {"v": VERSION, "attempt": self.attempt, "seq": self.seq, "wall_time": time.time(), "monotonic": time.monotonic()}
            text = json.dumps(plain({**head, "type": type, **fields}), ensure_ascii=False, separators=(",", ":"))
            self._append(text.encode("utf-8", "replace") + b"\n")

    def log(self, level: str, message: str) -> None:
        self.emit("log", level=level, message=message)

    def close(self) -> None:
        """Write what waits, sync and close. What a full disk still refuses is counted in `dropped`."""
        self._closed.set()
        self._syncer.join()
        with self._lock:
            self._drain()
            self.dropped += len(self._waiting)
            self._sync()
            os.close(self._file)

    def _append(self, line: bytes) -> None:
        if sum(map(len, self._waiting)) + len(line) > self._waiting_bytes:
            self.dropped += 1
            return
        self._waiting.append(line)
        self._drain()

    def _drain(self) -> None:
        """Write waiting lines in order, until the disk refuses. A line that was cut by a full disk is continued, not repeated."""
        try:
            while self._waiting:
                if self._written >= self._segment_bytes and self._at_line_start:
                    self._open_next()
                line = self._waiting[0]
                count = os.write(self._file, line)
                self._written += count
                self._unsynced = True
                self._at_line_start = count == len(line)
                if self._at_line_start:
                    self._waiting.popleft()
                else:
                    self._waiting[0] = line[count:]
            self.trouble = ""
        except OSError as error:
            self.trouble = f"the event log cannot be written: {error.strerror or error}"

    def _open_next(self) -> None:
        path = self.folder / f"{self._number + 1:06d}.jsonl"
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o644)
        if self._file >= 0:
            self._sync()
            os.close(self._file)
        self._file, self._number, self._written, self._at_line_start = opened, self._number + 1, 0, True
        sync_folder(self.folder)

    def _sync_regularly(self) -> None:
        while not self._closed.wait(SYNC_SECONDS):
            with self._lock:
                self._sync()

    def _sync(self) -> None:
        if self._unsynced:
            try:
                os.fsync(self._file)
                self._unsynced = False
            except OSError as error:
                self.trouble = f"the event log cannot be synced: {error.strerror or error}"


class Reader:
    """Reads a log while it grows. `poll` yields each event after `since_seq` once; calling it again continues where it ended.

    `damage` lists what could not be read: a line that is not JSON, or one that a crash cut at the end of a segment. A last line
    without its end in the newest segment may still be being written: it is left for the next poll, and `unfinished` is true.
    """

    def __init__(self, folder: Path, since_seq: int = 0) -> None:
        self.folder, self.seq = folder, since_seq
        self.damage: list[str] = []
        self.unfinished = False
        self._segment: Path | None = None
        self._offset = 0

    def poll(self) -> Iterator[dict[str, Any]]:
        found = segments(self.folder)
        if self._segment is None and found:
            self._segment = _segment_after(found, self.seq)
        for path in found:
            if self._segment is None or path.name < self._segment.name:
                continue
            if path != self._segment:
                self._segment, self._offset = path, 0
            yield from self._rest_of(path, newest=path == found[-1])

    def _rest_of(self, path: Path, newest: bool) -> Iterator[dict[str, Any]]:
        self.unfinished = False
        with path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    self._cut(path, newest)
                    return
                self._offset += len(line)
                event = self._parse(line, path)
                if event is not None and event["seq"] > self.seq:
                    self.seq = event["seq"]
                    yield event

    def _cut(self, path: Path, newest: bool) -> None:
        self.unfinished = newest
        if not newest:
            self.damage.append(f"{path.name} ends in the middle of a line, which was lost when its writer died")

    def _parse(self, line: bytes, path: Path) -> dict[str, Any] | None:
        try:
            event = json.loads(line)
            if isinstance(event, dict) and isinstance(event.get("seq"), int):
                return event
        except ValueError:
            pass
        self.damage.append(f"{path.name} has an unreadable line after event {self.seq}: {line[:80]!r}")
        return None


def read(folder: Path, since_seq: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the events of a log folder after `since_seq`, in order, up to the last complete line."""
    return Reader(folder, since_seq).poll()


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.jsonl"))


def last_seq(folder: Path) -> int:
    """Number of the last complete event in a log folder; 0 if there is none."""
    for path in reversed(segments(folder)):
        last = 0
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                last = max(last, json.loads(line)["seq"])
            except (ValueError, KeyError, TypeError):
                continue
        if last:
            return last
    return 0


def number(value: Any) -> float:
    """The float that a log's value stands for: "NaN", "Infinity" and "-Infinity" are strings there."""
    return float(value)


def plain(value: Any) -> Any:
    """`value` with only what JSON can hold: non-finite floats become strings, array scalars numbers, the unknown its text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)


def sync_folder(folder: Path) -> None:
    """Make names that were created or renamed in `folder` survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _segment_after(found: list[Path], since_seq: int) -> Path:
    """The last segment whose first event is not past `since_seq + 1`: earlier ones hold nothing new."""
    for path in reversed(found):
        with path.open("rb") as file:
            try:
                if json.loads(file.readline())["seq"] <= since_seq + 1:
                    return path
            except (ValueError, KeyError, TypeError):
                continue
    return found[0]
