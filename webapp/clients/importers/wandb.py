"""Weights & Biases: exported histories (CSV, JSON lines) and `.wandb` files of offline runs.

A `.wandb` file is a log of blocks of 32 KiB: after a header of 7 bytes (":W&B", a magic number, a
version) there are fragments, each with CRC (4), length (2) and kind (1: whole, 2: first, 3: middle,
4: last). A complete record is a message with a history = 2 or a run = 17; a history has items = 1
with key = 1, nested keys = 2 and the value as JSON = 16.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from webapp.clients.client_batch import digest_id
from webapp.clients.importers import tables, wandb_charts
from webapp.clients.importers.imported_run import (
    ImportedLog,
    ImportedRun,
    LogSource,
    UnreadableFile,
    checked_values,
)
from webapp.clients.importers.protobuf import fields
from webapp.clients.importers.restarts import mark_restarts
from webapp.clients.values import numbers

CLIENT = "wandb"
OFFLINE = ".wandb"
SUFFIXES = (OFFLINE, ".csv", ".jsonl")
HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
BLOCK = 32 * 1024
# Bytes of a record that is read; a history's row is smaller.
LARGEST_RECORD = 8 * 2**20
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
HISTORY, RUN = 2, 17
STEP, TIME = "_step", "_timestamp"
NOT_METRICS = ("_runtime", "_wandb")
# Columns that the refusal of an unknown table names.
LISTED_COLUMNS = 8


def found(folder: Path) -> Iterator[ImportedRun]:
    """Every run in the files below `folder`. Raises UnreadableFile."""
    files = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    for file in files:
        if file.suffix.lower() == ".csv" and wandb_charts.is_chart(columns := tables.header(file)):
            yield from wandb_charts.runs_in(file, columns, CLIENT)
        elif file.suffix.lower() != OFFLINE:
            is_csv = file.suffix.lower() == ".csv"
            if not file.stat().st_size:
                raise UnreadableFile(f"{file.name} is empty; a history has a row for each step.")
            source = LogSource(
                partial(_logs, file, _history), file, tables.head(file), is_csv=is_csv
            )
            yield ImportedRun(CLIENT, "", file.stem, [source])
    yield from _offline_runs(file for file in files if file.suffix.lower() == OFFLINE)


def _history(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table, each with its step. Raises UnreadableFile."""
    for offset, row in tables.rows(file):
        if STEP not in row:
            names = ", ".join(list(row)[:LISTED_COLUMNS]) or "none"
            raise UnreadableFile(
                f"{file.name}: the row at byte {offset} has no {STEP}, so that its step is not "
                f"known; it has {names}. A history of W&B has the columns {STEP}, {TIME} and one "
                "for each metric. The CSV of a W&B chart has its x axis first and then columns "
                "named “<run> - <metric>”."
            )
        yield offset, row


def _logs(
    file: Path, read: Callable[[Path], Iterator[tuple[int, dict[str, Any]]]]
) -> Iterator[ImportedLog]:
    return mark_restarts(_values(file, read))


def _values(
    file: Path, read: Callable[[Path], Iterator[tuple[int, dict[str, Any]]]]
) -> Iterator[ImportedLog]:
    for row_number, (offset, row) in enumerate(read(file)):
        step = row.pop(STEP, None)
        moment = row.pop(TIME, None)
        values, _ = numbers(
            {name: value for name, value in row.items() if not name.startswith(NOT_METRICS)}
        )
        where = f"{file.name}: the row at byte {offset}"
        yield ImportedLog(
            offset,
            checked_values(
                values, row_number if step is None else step, 0 if moment is None else moment, where
            ),
        )


def _offline_runs(files: Iterable[Path]) -> Iterator[ImportedRun]:
    """The runs of offline files; a run that was resumed offline has several of them."""
    runs: dict[tuple[str, str], ImportedRun] = {}
    for file in files:
        imported = _offline(file)
        place = imported.project, imported.key
        sources = [*runs[place].sources, *imported.sources] if place in runs else imported.sources
        runs[place] = replace(imported, sources=sources)
    yield from runs.values()


def _offline(file: Path) -> ImportedRun:
    """The run of a file by its run record, which has its id, its project and its start."""
    for offset, record in _records(file):
        run = next((value for number, value in _read(file, offset, record) if number == RUN), None)
        if isinstance(run, bytes):
            break
    else:
        raise UnreadableFile(f"{file.name} does not say which run it is of.")
    texts = {
        number: value.decode("utf-8", "replace")
        for number, value in _read(file, offset, run)
        if isinstance(value, bytes) and number < 9
    }
    run_id = texts.get(1, "")
    source = LogSource(partial(_logs, file, _rows), file, digest_id(run.hex()))
    return ImportedRun(CLIENT, run_id, run_id or file.stem, [source], texts.get(3, ""))


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    return (
        (offset, row)
        for offset, record in _records(file)
        for row in _histories(file, offset, record)
    )


def _histories(file: Path, offset: int, record: bytes) -> Iterator[dict[str, Any]]:
    for number, history in _read(file, offset, record):
        if number == HISTORY and isinstance(history, bytes):
            items = [
                value
                for number, value in _read(file, offset, history)
                if number == 1 and isinstance(value, bytes)
            ]
            try:
                row = dict(_item(item) for item in items)
            except (ValueError, RecursionError) as problem:
                raise UnreadableFile(
                    f"{file.name}: the record at byte {offset} cannot be read: {problem}."
                ) from problem
            yield row


def _item(message: bytes) -> tuple[str, Any]:
    names: list[str] = []
    value: Any = None
    for number, field in fields(message):
        if number in (1, 2) and isinstance(field, bytes):
            names.append(field.decode("utf-8", "replace"))
        elif number == 16 and isinstance(field, bytes):
            value = json.loads(field)
    return "/".join(filter(None, names)), value


def _read(file: Path, offset: int, record: bytes) -> list[tuple[int, Any]]:
    try:
        return list(fields(record))
    except ValueError as problem:
        raise UnreadableFile(
            f"{file.name}: the record at byte {offset} cannot be read: {problem}."
        ) from problem


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
