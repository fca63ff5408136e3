"""Rows of a data file or folder in any supported format.

The format is detected from the content first, then from the name. A folder was written by Hugging
Face's `save_to_disk`, or is a downloaded hub data set; a file belongs to a split if its folder or
the start of its name says so (`train-00000-of-00002.parquet`, `test/data.jsonl`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from trainer.text.problems.formats import arrow_rows, csv_rows, json_documents, json_lines
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
}
BLANK = b"\xef\xbb\xbf \t\r\n"
# An object around the list of rows, which may have a version or the like before it.
WRAPPED = re.compile(
    r'\{\s*(?:"[^"]*"\s*:\s*(?:"[^"]*"|[\w.+-]+)\s*,\s*)*'
    rf'"(?:{"|".join(json_documents.LIST_NAMES)})"\s*:\s*\[\s*\{{'
)
SPLITS = ("train", "test", "validation", "valid", "dev", "eval")


def rows(path: Path, format: str = "auto", split: str | None = None) -> Iterator[Row]:
    """Rows of the file, or of the folder's files that belong to `split`.

    Raises ProblemError for a file that cannot be read.
    """
    for file in data_files(path, split):
        yield from READERS[format_of(file) if format == "auto" else format](file)


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
        return _json_format(head) if format_name == "jsonl" else format_name
    starts_as_json = head.lstrip(BLANK).startswith((b"{", b"["))
    return _json_format(head) if starts_as_json else "csv"


def _json_format(head: bytes) -> str:
    """jsonl, or json where a list or an object goes over several lines."""
    text = head.lstrip(BLANK).decode("utf-8", "replace")
    line, *further_lines = text.splitlines()
    if text.startswith("[") or WRAPPED.match(text):
        return "json"
    if not further_lines:
        return "jsonl"
    # An object may start here and go on in the next line.
    try:
        json.loads(line)
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
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise ProblemError(
            f"{path.name} cannot be opened: {(error.strerror or 'unknown reason').lower()}"
        ) from None
    if not head.strip(BLANK):
        raise ProblemError(f"{path.name} is empty; it needs one row per problem")
    return head


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
