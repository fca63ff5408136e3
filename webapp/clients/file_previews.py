"""What a page shows of a logged file: an image, a table, or text; nothing that a browser executes.

The content decides, not the name. An image is one of four formats without scripts. A table is JSON
as MLflow (`{"columns": […], "data": [[…], …]}`, W&B likewise) or Trackio (a list of rows by column)
write it, or CSV. All else that is text, such as SVG and HTML, is shown as text.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

# Bytes and values of a table that is read: as Python values it takes up to sixty times its length.
LONGEST_TABLE = 4 * 2**20
MOST_VALUES = 200_000
LONGEST_TEXT = 2**16
MOST_COLUMNS = 50
ROWS_OF_PAGE = 50
LONGEST_CELL = 300
HEAD_BYTES = 16


class Cell(NamedTuple):
    """The text of a cell; `path` is the file of the run that it shows, if it is a picture."""

    text: str
    path: str = ""


@dataclass(frozen=True)
class Preview:
    """A part of a file: `kind` is image, table, text, or "" for what cannot be shown."""

    kind: str
    text: str = ""
    is_cut: bool = False
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    row_count: int = 0
    column_count: int = 0
    page: int = field(default=1)


def image_type(head: bytes) -> str:
    """Return the media type of an image by its first HEAD_BYTES, "" for anything else."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if head.startswith(b"RIFF") and head[8:12] == b"WEBP" else ""


def preview(stream: IO[bytes], name: str, size: int, page: int = 1) -> Preview:
    """Return what is shown of a file; `page` counts the pages of a table from 1."""
    head = stream.read(HEAD_BYTES)
    if image_type(head):
        return Preview("image")
    is_table = name.lower().endswith((".json", ".csv")) and size <= LONGEST_TABLE
    content = head + stream.read((LONGEST_TABLE if is_table else LONGEST_TEXT) - HEAD_BYTES)
    text = _decoded(content, is_cut=len(content) < size)
    if text is None:
        return Preview("")
    table = (
        (_csv_table if name.lower().endswith(".csv") else _json_table)(text) if is_table else None
    )
    if table is None:
        return Preview("text", text[:LONGEST_TEXT], is_cut=size > LONGEST_TEXT)
    columns, rows = table
    first = max(0, min(page - 1, (len(rows) - 1) // ROWS_OF_PAGE)) * ROWS_OF_PAGE
    return Preview(
        "table",
        columns=[_shortened(column) for column in columns[:MOST_COLUMNS]],
        rows=[
            [_cell(value) for value in row[:MOST_COLUMNS]]
            for row in (_in_order(row, columns) for row in rows[first : first + ROWS_OF_PAGE])
        ],
        row_count=len(rows),
        column_count=len(columns),
        page=first // ROWS_OF_PAGE + 1,
    )


Table = tuple[list[str], Sequence[Any]]


def _decoded(content: bytes, is_cut: bool) -> str | None:
    """Return the text of a file or of its beginning, None if it is none."""
    if b"\0" in content:
        return None
    # The last character of a beginning may be incomplete.
    for end in range(len(content), len(content) - (4 if is_cut else 1), -1):
        try:
            return content[:end].decode()
        except UnicodeDecodeError:
            continue
    return None


def _json_table(text: str) -> Table | None:
    if not text.startswith(("[", "{")) or sum(map(text.count, ",[{")) > MOST_VALUES:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and isinstance(value.get("columns"), list):
        rows = value.get("data")
        is_table = isinstance(rows, list) and all(isinstance(row, list) for row in rows)
        return ([str(column) for column in value["columns"]], rows or []) if is_table else None
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return list(dict.fromkeys(itertools.chain.from_iterable(value))), value
    return None


def _csv_table(text: str) -> Table | None:
    if sum(map(text.count, ",\n")) > MOST_VALUES:
        return None
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error:
        return None
    return (rows[0], rows[1:]) if len(rows) > 1 else None


def _in_order(row: Any, columns: Sequence[str]) -> Sequence[Any]:
    if isinstance(row, Mapping):
        return [row.get(column) for column in columns[:MOST_COLUMNS]]
    return row if isinstance(row, list) else []


def _cell(value: Any) -> Cell:
    if isinstance(value, dict):
        path = value.get("file_path") or value.get("filepath") or value.get("path")
        if isinstance(path, str) and ("_type" in value or value.get("type") == "image"):
            return Cell(
                _shortened(value.get("caption") or path.rpartition("/")[2]), _place(path, value)
            )
    if isinstance(value, dict | list | bool):
        return Cell(_shortened(json.dumps(value, ensure_ascii=False)))
    return Cell("" if value is None else _shortened(value))


def _place(path: str, value: Mapping[str, Any]) -> str:
    """Return where a picture of a table is among the files of the run."""
    # Trackio names `<project>/<run>/<step>/<name>` on its client's machine.
    if str(value.get("_type")).startswith("trackio."):
        return "/".join(["media", *path.replace("\\", "/").split("/")[-2:]])
    return path


def _shortened(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"
