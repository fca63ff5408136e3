"""Rows of a data file or folder in any supported format.

The format is detected from the content first, then from the name. A folder was written by Hugging
Face's `save_to_disk`, or is a downloaded hub data set; a file belongs to a split if its folder or
the start of its name says so (`train-00000-of-00002.parquet`, `test/data.jsonl`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from trainer.text.problems.formats import (
    arrow_rows,
    csv_rows,
    json_documents,
    json_lines,
    text_lines,
)
from trainer.text.problems.records import ProblemError, Row

READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "jsonl": json_lines.read,
    "json": json_documents.read,
    "csv": csv_rows.read,
    "parquet": arrow_rows.read_parquet,
    "arrow": arrow_rows.read_arrow,
}
SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    # Lines or a list: `format_of` decides by the content.
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
MAGIC = {b"PAR1": "parquet"}
COMPRESSED = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\x1f\x8b": "compressed with gzip",
    b"\xfd7zXZ": "compressed with xz",
    b"BZh": "compressed with bzip2",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"SQLite format 3": "an SQLite database",
}
HEAD, MOST_BLANK = 4096, 2**20
BLANK = b"\xef\xbb\xbf \t\r\n"
# An object whose first value is a group or a list: a table by columns, if it is the only line.
NESTED = re.compile(r'\{\s*"[^"]*"\s*:\s*[\[{]')
# Characters that the rows of a head may have together.
LONGEST_HEAD = 4 * 2**20
SPLITS = json_documents.SPLIT_NAMES


def rows(path: Path, format: str = "auto", split: str | None = None) -> Iterator[Row]:
    """Rows of the file, or of the folder's files that belong to `split`.

    Raises ProblemError for a file that cannot be read.
    """
    for file in data_files(path, split):
        name = format_of(file) if format == "auto" else format
        # A folder has its splits as files.
        is_split = name == "json" and file == path
        yield from json_documents.read(file, split) if is_split else READERS[name](file)


def head(path: Path, count: int, format: str = "auto", split: str | None = None) -> Iterator[Row]:
    """The first rows, at most `count`; fewer if they are longer than LONGEST_HEAD together."""
    length = 0
    for row in islice(rows(path, format, split), count):
        yield row
        length += _length(row.values)
        if length > LONGEST_HEAD:
            return


def format_of(path: Path) -> str:
    """jsonl, json, csv, parquet or arrow.

    Raises ProblemError for a missing, empty or compressed file.
    """
    head = _head(path)
    for magic, description in COMPRESSED.items():
        if head.startswith(magic):
            raise ProblemError(
                f"{path.name} is {description}; give JSON Lines, CSV or Parquet instead"
            )
    if format_name := next(
        (format for magic, format in MAGIC.items() if head.startswith(magic)),
        SUFFIXES.get(path.suffix.lower()),
    ):
        return _json_format(head, path) if format_name == "jsonl" else format_name
    starts_as_json = head.lstrip(BLANK).startswith((b"{", b"["))
    return _json_format(head, path) if starts_as_json else "csv"


def _json_format(head: bytes, path: Path) -> str:
    """jsonl, or json where a list or an object goes over several lines, or is the only line."""
    text = head.lstrip(BLANK).decode("utf-8", "replace")
    line, *further_lines = text.splitlines() or [""]
    if text.startswith("[") or json_documents.WRAPPED.match(text):
        return "json"
    if not further_lines:
        return "json" if NESTED.match(text) and _is_one_line(path) else "jsonl"
    # An object may start here and go on in the next line.
    try:
        json_lines.DECODER.decode(line)
    except json.JSONDecodeError as error:
        return "json" if error.pos >= len(line.rstrip()) else "jsonl"
    except RecursionError:
        pass
    return "jsonl"


def data_files(path: Path, split: str | None = None) -> list[Path]:
    """The file itself, or a folder's data files in the order of their names.

    Raises ProblemError if a split has to be chosen.
    """
    if not path.is_dir():
        return [path]
    candidates = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in SUFFIXES and _holds_data(file.relative_to(path))
    ]
    if not candidates:
        raise ProblemError(
            f"the folder {path.name} has no data files; "
            "it needs JSON Lines, CSV, Parquet or Arrow files"
        )
    splits = {file: _split_of(file.relative_to(path)) for file in candidates}
    if split is None and len(set(splits.values())) > 1:
        raise ProblemError(
            f"the folder {path.name} has several splits; choose one: {_names(splits)}"
        )
    if split is not None and split not in splits.values():
        raise ProblemError(
            f"the folder {path.name} has no split “{split}”; it has {_names(splits)}"
        )
    return [file for file in candidates if split is None or splits[file] == split]


def _head(path: Path) -> bytes:
    """The start of the file behind blank lines; of text in UTF-8."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            encoding = text_lines.encoding_of(head)
            blank = 0
            while head and not head.strip(BLANK) and blank < MOST_BLANK:
                blank += len(head)
                head = file.read(HEAD)
    except OSError as error:
        raise ProblemError(
            f"{path.name} cannot be opened: {(error.strerror or 'unknown reason').lower()}"
        ) from None
    if not head.strip(BLANK):
        raise ProblemError(f"{path.name} is empty; it needs one row per problem")
    return head if encoding == "utf-8-sig" else head.decode(encoding, "ignore").encode()


def _is_one_line(path: Path) -> bool:
    return (
        sum(1 for _ in islice((line for line in text_lines.lines(path) if line.text.strip()), 2))
        == 1
    )


def _length(value: Any) -> int:
    """Characters of the texts in a value, with one for each other value."""
    length, values = 0, [value]
    # A loop and no recursion, because JSON may be nested a thousand deep.
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value
        length += len(value) if isinstance(value, str | bytes | dict) else 1
    return length


def _holds_data(path: Path) -> bool:
    """Whether it is neither a cache nor one of the JSON files that describe a data set."""
    described = {"dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json"}
    hidden = any(folder.startswith(".") for folder in path.parts)
    return not hidden and path.name not in described and not path.name.startswith("cache-")


def _split_of(path: Path) -> str:
    """The split of a file with its configuration folder ("main/train"); empty if unknown."""
    names = [name for folder in path.parts for name in re.split(r"[^a-z]+", folder.lower())]
    split = next((name for name in names if name in SPLITS), "")
    folders = [folder for folder in path.parts[:-1] if folder.lower() not in ("data", split)]
    return "/".join([*folders, split]) if split else "/".join(folders)


def _names(splits: dict[Path, str]) -> str:
    return ", ".join(sorted({name or "(unnamed)" for name in splits.values()}))
