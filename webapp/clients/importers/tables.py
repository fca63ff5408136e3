"""Tables as text: CSV with a header, or lines of JSON objects; each row with its byte offset.

A file that is still being written may end in the middle of a line. An incomplete line of JSON is
left for the next import. A row of CSV looks complete at any length, so that the last one is read,
and compared when the file has grown.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from webapp.clients.client_batch import digest_id
from webapp.clients.importers.imported_run import UnreadableFile

# Bytes, so that a file without line breaks cannot fill the memory: as values, a row needs up to
# twenty times as much.
LONGEST_LINE = 4 * 2**20


def head(file: Path) -> UUID:
    """A digest of the first two lines, by which earlier versions identified a table."""
    lines = _lines(file)
    return digest_id(*(next(lines, (0, "")) for _ in range(2)))


def header(file: Path) -> list[str]:
    """Return the names in the first line of a CSV file as they are. Raises UnreadableFile."""
    return _cells(file, 0, next(_whole(_lines(file)), (0, ""))[1])


def different(names: Iterable[str]) -> list[str]:
    """Return names of which each occurs once: the second “loss” becomes “loss (2)”."""
    counts: Counter[str] = Counter()
    taken: set[str] = set()
    different_names = []
    for name in names:
        unlike = name
        while name and unlike in taken:
            counts[name] += 1
            unlike = f"{name} ({counts[name] + 1})"
        taken.add(unlike)
        different_names.append(unlike)
    return different_names


def rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (offset, row), without an incomplete last line of JSON. Raises UnreadableFile."""
    return _csv(file) if file.suffix.lower() == ".csv" else _json(file)


def _csv(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = _whole(_lines(file))
    names = different(_cells(file, 0, next(lines, (0, ""))[1]))
    if not any(names):
        raise UnreadableFile(f"{file.name} is empty; a table begins with a line of column names.")
    for offset, line in lines:
        values = _cells(file, offset, line)
        if len(values) > len(names):
            raise UnreadableFile(
                f"{file.name}: the row at byte {offset} has {len(values)} values for "
                f"{len(names)} columns."
            )
        yield (
            offset,
            {
                name: _number(value)
                for name, value in zip(names, values, strict=False)
                if name and value != ""
            },
        )


def _whole(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Join lines that belong to one quoted cell."""
    row_lines: list[str] = []
    row_offset = size = 0
    open_quote = False
    for offset, line in lines:
        row_offset = row_offset if row_lines else offset
        row_lines.append(line)
        size += len(line)
        # A quote inside a quoted cell is written twice, so that only an odd number opens or closes
        # one.
        open_quote ^= line.count('"') % 2 == 1
        # A quote that is never closed would join all lines of the file.
        if not open_quote or size > LONGEST_LINE:
            yield row_offset, "\n".join(row_lines)
            row_lines, size, open_quote = [], 0, False
    if row_lines:
        yield row_offset, "\n".join(row_lines)


def _cells(file: Path, offset: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error as problem:
        raise UnreadableFile(
            f"{file.name}: the row at byte {offset} cannot be read as CSV: {problem}."
        ) from problem


def _json(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    file_size = file.stat().st_size
    for offset, line in _lines(file):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as problem:
            # The last line may still be being written; the next import reads it again.
            if offset + len(line.encode()) >= file_size:
                return
            raise UnreadableFile(
                f"{file.name}: the line at byte {offset} is not JSON: {problem}."
            ) from problem
        if not isinstance(row, dict):
            raise UnreadableFile(
                f"{file.name}: the line at byte {offset} is not an object with names and values."
            )
        yield offset, row


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    offset = 0
    with file.open("rb") as stream:
        while line := stream.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE:
                raise UnreadableFile(
                    f"{file.name}: the line at byte {offset} is longer than "
                    f"{LONGEST_LINE // 2**20} MiB."
                )
            if line.strip():
                try:
                    # Spreadsheets put a byte order mark before the first name.
                    encoding = "utf-8" if offset else "utf-8-sig"
                    yield offset, line.decode(encoding).rstrip("\r\n")
                except UnicodeDecodeError as problem:
                    raise UnreadableFile(
                        f"{file.name}: the line at byte {offset} is not UTF-8 text."
                    ) from problem
            offset += len(line)


def _number(text: str) -> Any:
    """A cell as a number if it is one, else as text; NaN and infinities by the clients' names."""
    try:
        # Python would read the text 2026_11 as a number.
        return text if "_" in text else float(text)
    except ValueError:
        return text
