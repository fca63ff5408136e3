"""`.wandb` files of runs that Weights & Biases logged offline, with the files beside them.

A file is a log of blocks of 32 KiB: after a header of 7 bytes (":W&B", a magic number, a version)
there are fragments, each with CRC (4), length (2) and kind (1: whole, 2: first, 3: middle, 4:
last). A complete record is a message with a history = 2, a summary = 3, a config = 5, a run = 17 or
an exit = 18. Histories, summaries and configs are items = 1 with key = 1, nested keys = 2 and the
value as JSON = 16; the latter two may remove items = 2. A run has id = 1, project = 3, config = 4,
summary = 5, group = 6, job type = 7, display name = 8, notes = 9 and tags = 10; an exit has the
exit code = 1.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from webapp.clients.client_batch import digest_id, step
from webapp.clients.importers.imported_run import (
    ImportedRun,
    LogSource,
    MediaFile,
    Rows,
    UnreadableFile,
    media_file,
)
from webapp.clients.importers.protobuf import fields, signed
from webapp.clients.limits import MAX_PARAMS, MAX_SERIES
from webapp.clients.run_files import MAX_FILES
from webapp.clients.values import flat, numbers
from webapp.runs.models import State

HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
BLOCK = 32 * 1024
# Bytes of a record that is read; a history's row is smaller.
LARGEST_RECORD = 8 * 2**20
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
HISTORY, SUMMARY, CONFIG, RUN, EXIT = 2, 3, 5, 17, 18
STEP, TIME = "_step", "_timestamp"
# Texts of a run record that become tags, by their numbers.
TAGS = {6: "group", 7: "job_type", 9: "notes", 10: "tags"}


@dataclass
class Facts:
    """What a file says about its run beside the values of its histories.

    `last` are the last values of the histories, `files` the media that they name, `exit` the
    position of the record that says how the process ended.
    """

    texts: dict[int, list[str]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    files: dict[str, MediaFile] = field(default_factory=dict)
    exit: int | None = None
    exit_code: int = 0
    head: str = ""

    def text(self, number: int) -> str:
        return ", ".join(self.texts.get(number, []))

    @property
    def results(self) -> dict[str, Any]:
        """The values of the summary that are not the last ones of a history."""
        return {
            name: value
            for name, value in flat(self.summary)
            if not name.startswith("_") and not _is_same(self.last.get(name), value)
        }


def runs_in(files: Iterable[Path], client: str, read: Rows) -> Iterator[ImportedRun]:
    """Yield the runs of offline files; a run that was resumed offline has several of them.

    `read` makes the logs of a file from its rows. Raises UnreadableFile.
    """
    runs: dict[tuple[str, str], ImportedRun] = {}
    for file in files:
        imported = _run(file, client, read)
        place = imported.project, imported.key
        if place in runs:
            earlier = runs[place]
            imported = replace(
                imported,
                sources=[*earlier.sources, *imported.sources],
                params={**earlier.params, **imported.params},
                tags={**earlier.tags, **imported.tags},
                files=[*earlier.files, *imported.files],
            )
        runs[place] = imported
    yield from runs.values()


def _run(file: Path, client: str, read: Rows) -> ImportedRun:
    facts = _facts(file)
    run_id = facts.text(1)
    # A number that no history has is a result: a series of one value, at the last step.
    results, _ = numbers(
        {name: value for name, value in facts.results.items() if name not in facts.last}
    )
    others = {
        f"summary/{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in facts.results.items()
        if name not in results and not isinstance(value, dict)
    }
    not_kept: set[str] = set()
    source = LogSource(
        lambda: read(file, lambda _: _rows(file, facts, results), not_kept),
        file,
        digest_id(facts.head),
        not_kept=not_kept,
    )
    state, reason = None, ""
    if facts.exit is not None:
        state = State.FAILED if facts.exit_code else State.COMPLETED
        reason = f"Its process ended with exit code {facts.exit_code}." if facts.exit_code else ""
    tags = {name: facts.text(number) for number, name in TAGS.items() if facts.text(number)}
    return ImportedRun(
        client,
        run_id,
        facts.text(8) or run_id or file.stem,
        [source],
        facts.text(3),
        params=dict(flat(facts.config)),
        tags={**tags, **others},
        state=state,
        reason=reason,
        files=list(facts.files.values()),
    )


def _is_same(one: Any, other: Any) -> bool:
    # NaN is unequal to itself.
    return bool(one == other or (one != one and other != other))


def _facts(file: Path) -> Facts:
    """Read a file once for what is not a value of a history. Raises UnreadableFile."""
    facts = Facts()
    for offset, record in _records(file):
        for number, message in _read(file, offset, record):
            if not isinstance(message, bytes):
                continue
            if number == RUN:
                _add_run(facts, file, offset, message)
            elif number == HISTORY:
                _add_history(facts, file, _items(file, offset, message))
            elif number == SUMMARY:
                _update(facts.summary, file, offset, message)
            elif number == CONFIG:
                _update(facts.config, file, offset, message)
            elif number == EXIT:
                codes = [value for code, value in _read(file, offset, message) if code == 1]
                code = codes[0] if codes and isinstance(codes[0], int) else 0
                facts.exit, facts.exit_code = offset, signed(code)
    if not facts.head:
        raise UnreadableFile(f"{file.name} does not say which run it is of.")
    return facts


def _add_run(facts: Facts, file: Path, offset: int, message: bytes) -> None:
    # A run record may come again, such as after a change of the name.
    facts.head = facts.head or message.hex()
    texts: dict[int, list[str]] = {}
    for number, value in _read(file, offset, message):
        if isinstance(value, bytes) and number == 4:
            _update(facts.config, file, offset, value)
        elif isinstance(value, bytes) and number == 5:
            _update(facts.summary, file, offset, value)
        elif isinstance(value, bytes) and number <= 10:
            texts.setdefault(number, []).append(value.decode("utf-8", "replace"))
    facts.texts |= texts


def _add_history(facts: Facts, file: Path, row: dict[str, Any]) -> None:
    for name, value in flat(row):
        if isinstance(value, dict):
            for path in _paths(value):
                _add_file(facts, file, path, name, value, step(row.get(STEP)))
        if len(facts.last) < 2 * MAX_SERIES or name in facts.last:
            facts.last[name] = value


def _paths(value: dict[str, Any]) -> list[Any]:
    """Return the files that a medium of a history names: an image, a table, several images."""
    names = value.get("filenames")
    return names if isinstance(names, list) else [value.get("path")]


def _add_file(
    facts: Facts, file: Path, path: Any, key: str, value: dict[str, Any], at: int | None
) -> None:
    caption = value.get("caption")
    media = media_file(
        file.parent / "files",
        str(path),
        key=key,
        caption=caption if isinstance(caption, str) else "",
        step=at,
    )
    if media is not None and len(facts.files) < MAX_FILES:
        facts.files[media.logged.path] = media


def _update(values: dict[str, Any], file: Path, offset: int, message: bytes) -> None:
    """Apply a change of a config or summary; what W&B keeps there for itself is left out."""
    parts = list(_read(file, offset, message))
    for number, item in parts:
        if number == 2 and isinstance(item, bytes):
            values.pop(_item(file, offset, item)[0][0], None)
    for name, value in _merged(
        file, offset, [item for number, item in parts if number == 1]
    ).items():
        if name != "_wandb" and (name in values or len(values) < MAX_PARAMS):
            both_nested = isinstance(value, dict) and isinstance(values.get(name), dict)
            values[name] = {**values[name], **value} if both_nested else value


def _rows(
    file: Path, facts: Facts, results: dict[str, float]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of the histories, and last the results of the summary."""
    last: dict[str, Any] = {STEP: 0, TIME: 0}
    for offset, record in _records(file):
        for number, history in _read(file, offset, record):
            if number == HISTORY and isinstance(history, bytes):
                row = _items(file, offset, history)
                last |= {name: row[name] for name in (STEP, TIME) if name in row}
                yield offset, row
        if offset == facts.exit and results:
            yield offset, {**results, **last}


def _items(file: Path, offset: int, message: bytes) -> dict[str, Any]:
    items = [value for number, value in _read(file, offset, message) if number == 1]
    return _merged(file, offset, items)


def _merged(file: Path, offset: int, items: Iterable[Any]) -> dict[str, Any]:
    """Return items as nested dictionaries: W&B writes each value inside one as an item."""
    merged: dict[str, Any] = {}
    for item in items:
        if not isinstance(item, bytes):
            continue
        names, value = _item(file, offset, item)
        place = merged
        for name in names[:-1]:
            inside = place.setdefault(name, {})
            if not isinstance(inside, dict):
                break
            place = inside
        else:
            place[names[-1]] = value
    return merged


def _item(file: Path, offset: int, message: bytes) -> tuple[list[str], Any]:
    names: list[str] = []
    value: Any = None
    try:
        for number, part in fields(message):
            if number in (1, 2) and isinstance(part, bytes):
                names.append(part.decode("utf-8", "replace"))
            elif number == 16 and isinstance(part, bytes):
                value = json.loads(part)
    except (ValueError, RecursionError) as problem:
        raise _unreadable(file, offset, problem) from problem
    return names or [""], value


def _read(file: Path, offset: int, record: bytes) -> list[tuple[int, Any]]:
    try:
        return list(fields(record))
    except ValueError as problem:
        raise _unreadable(file, offset, problem) from problem


def _unreadable(file: Path, offset: int, problem: Exception) -> UnreadableFile:
    return UnreadableFile(f"{file.name}: the record at byte {offset} cannot be read: {problem}.")


def _records(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, record) up to the last complete one. Raises UnreadableFile."""
    with file.open("rb") as stream:
        if stream.read(len(HEADER)) != HEADER:
            raise UnreadableFile(f"{file.name} does not begin like a file of W&B.")
        offset, record_offset, record_size = len(HEADER), 0, 0
        fragments: list[bytes] = []
        while True:
            # A header of 7 bytes does not cross a block: what is left of the block is zeros.
            if BLOCK - offset % BLOCK < 7:
                offset += BLOCK - offset % BLOCK
            stream.seek(offset)
            frame = stream.read(7)
            # A run that is still logging, or was killed, ends in the middle of a fragment.
            if len(frame) < 7:
                return
            check, length, kind = struct.unpack("<IHB", frame)
            fragment = stream.read(length)
            if len(fragment) < length:
                return
            if (
                kind not in (WHOLE, FIRST, MIDDLE, LAST)
                or zlib.crc32(bytes([kind]) + fragment) != check
            ):
                raise UnreadableFile(
                    f"{file.name}: at byte {offset} there is no record of W&B; the file is damaged."
                )
            if kind in (WHOLE, FIRST):
                record_offset, record_size, fragments = offset, 0, []
            record_size += length
            if record_size <= LARGEST_RECORD:
                fragments.append(fragment)
            offset += 7 + length
            if kind in (WHOLE, LAST) and record_size <= LARGEST_RECORD:
                yield record_offset, b"".join(fragments)
