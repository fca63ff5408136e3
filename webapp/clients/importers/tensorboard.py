"""TensorBoard's event files: a folder of them is a run, and its scalars are the run's values.

A file is a sequence of records: length (8 bytes), its masked CRC-32C (4), the record, the record's
CRC (4). A record is an `Event` message: wall_time = 1, step = 2, summary = 5; a summary has values
= 1 with tag = 1, simple_value = 2, or a tensor = 8 with one number. The CRC of the length is
checked, so that a damaged file is reported at the right position; an incomplete last record is left
for the next import.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

from webapp.clients.client_batch import LoggedValues, digest_id, key
from webapp.clients.importers.imported_run import (
    ImportedLog,
    ImportedRun,
    LogSource,
    UnreadableFile,
    checked_values,
    note_not_kept,
)
from webapp.clients.importers.protobuf import double, fields, signed, single
from webapp.clients.importers.restarts import mark_restarts

CLIENT = "tensorboard"
PATTERN = "*tfevents*"
# Bytes of a record that is read. A larger one holds media: scalars need 100 bytes each.
LARGEST_RECORD = 8 * 2**20
FLOAT, DOUBLE = 1, 2
# CRC-32C (Castagnoli), bits reversed; the standard library only has CRC-32.
POLYNOMIAL = 0x82F63B78


def found(folder: Path) -> Iterator[ImportedRun]:
    """Every run below `folder`, by the path of its folder. Raises UnreadableFile."""
    files: dict[Path, list[Path]] = defaultdict(list)
    for file in sorted(folder.rglob(PATTERN)):
        # An empty file has no records to identify it by.
        if file.is_file() and file.stat().st_size:
            files[file.parent].append(file)
    for run_folder, run_files in files.items():
        name = run_folder.relative_to(folder).as_posix()
        not_kept: set[str] = set()
        sources = [
            LogSource(partial(_logs, file, not_kept), file, _head(file), not_kept=not_kept)
            for file in run_files
        ]
        yield ImportedRun(CLIENT, "", run_files[0].name if name == "." else name, sources)


def _head(file: Path) -> UUID:
    """A digest of the first records, by which earlier versions identified a file."""
    records = _records(file)
    return digest_id(
        *(record.hex() for _, record in (next(records, (0, b"")), next(records, (0, b""))))
    )


def _logs(file: Path, not_kept: set[str]) -> Iterator[ImportedLog]:
    return mark_restarts(_scalars(file, not_kept))


def _scalars(file: Path, not_kept: set[str]) -> Iterator[ImportedLog]:
    for offset, record in _records(file):
        where = f"{file.name}: the record at byte {offset}"
        try:
            log = _log(record, where, not_kept)
        except (ValueError, struct.error, TypeError) as problem:
            raise UnreadableFile(f"{where} cannot be read: {problem}.") from problem
        if log is not None:
            yield ImportedLog(offset, log)


def _records(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, record) up to the last complete one. Raises UnreadableFile."""
    offset = 0
    with file.open("rb") as stream:
        while len(frame := stream.read(12)) == 12:
            length, check = struct.unpack("<QI", frame)
            if masked_crc(frame[:8]) != check or length >= 2**62:
                raise UnreadableFile(
                    f"{file.name}: at byte {offset} there is no record of TensorBoard; the "
                    f"file is damaged or of another kind."
                )
            if length <= LARGEST_RECORD:
                record = stream.read(length + 4)
                if len(record) < length + 4:
                    return
                yield offset, record[:-4]
            offset += 16 + length
            stream.seek(offset)


def _log(record: bytes, where: str, not_kept: set[str]) -> LoggedValues | None:
    """The scalars of an event; None if it has none. Other tags are added to `not_kept`.

    Raises UnreadableFile for values that cannot be stored, and the errors of `protobuf`.
    """
    wall_time, step = 0.0, 0
    values: dict[str, float] = {}
    for number, value in fields(record):
        if number == 1 and isinstance(value, bytes):
            wall_time = double(value)
        elif number == 2 and isinstance(value, int):
            step = signed(value)
        elif number == 5 and isinstance(value, bytes):
            scalars = [(key(tag), scalar) for tag, scalar in map(_value, _parts(value, 1)) if tag]
            values |= {tag: scalar for tag, scalar in scalars if scalar is not None}
            note_not_kept(not_kept, [tag for tag, scalar in scalars if scalar is None])
    return checked_values(values, step, wall_time, where) if values else None


def _parts(message: bytes, field_number: int) -> list[bytes]:
    return [
        value
        for number, value in fields(message)
        if number == field_number and isinstance(value, bytes)
    ]


def _value(message: bytes) -> tuple[str, float | None]:
    """(tag, number) of a summary's value; the number is None unless it is a single number."""
    tag, scalar = "", None
    for number, value in fields(message):
        if isinstance(value, int):
            continue
        if number == 1:
            tag = value.decode()
        elif number == 2:
            scalar = single(value)
        elif number == 8:
            scalar = _of_tensor(value)
    return tag, scalar


def _of_tensor(message: bytes) -> float | None:
    """The number of a tensor with one float or double: content (4), floats (5) or doubles (6)."""
    kind = next((value for number, value in fields(message) if number == 1), None)
    read, size = (single, 4) if kind == FLOAT else (double, 8)
    content = b"".join(
        value
        for number, value in fields(message)
        if number in (4, 5, 6) and isinstance(value, bytes)
    )
    return read(content) if kind in (FLOAT, DOUBLE) and len(content) == size else None


def masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    # TensorFlow masks a CRC that is stored beside its data: rotated right by 15 bits, plus a
    # constant.
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


TABLE = [_entry(byte) for byte in range(256)]
