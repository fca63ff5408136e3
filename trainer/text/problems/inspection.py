"""Columns and first rows of a data file, for choosing the column mapping.

Only the head of the file is read, so the time does not depend on its size.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from trainer.spec.base import encodable
from trainer.text.problems import files
from trainer.text.problems.addresses import addresses_in
from trainer.text.problems.records import ProblemError
from trainer.text.problems.shapes import Shape, recognise

HEAD_ROWS = 100
LONGEST_CELL = 2_000
MOST_COLUMNS = 1_000
MOST_ADDRESSES = 300
# Of what is looked at to recognise a format: the characters of a text, the items of a list.
LONGEST_TEXT, LONGEST_LIST = 20_000, 100


@dataclass(frozen=True, slots=True)
class Inspection:
    """`columns` in order of appearance; `rows` as text.

    `addresses` has the columns and the values inside them that can be mapped; `shape` has the first
    mapping.
    """

    format: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    addresses: tuple[str, ...]
    shape: Shape

    @property
    def guess(self) -> dict[str, str | None]:
        return self.shape.guess


def inspect(path: Path, count: int = 10, split: str | None = None) -> Inspection:
    """Read the head of a data file or folder. Raises ProblemError if it holds no data."""
    path = Path(path)
    format = files.format_of(files.data_files(path, split)[0])
    head = [
        {encodable(str(column)): _shortened(value) for column, value in row.values.items()}
        for row in islice(files.rows(path, split=split), HEAD_ROWS)
    ]
    if not head:
        raise ProblemError(f"{path.name} has no rows after its header; it needs one per problem")
    columns = tuple(dict.fromkeys(column for row in head for column in row))
    if len(columns) > MOST_COLUMNS:
        raise ProblemError(
            f"{path.name} has {len(columns):,} columns; at most {MOST_COLUMNS:,} are read. "
            "Is it a table of problems?"
        )
    return Inspection(
        format,
        columns,
        tuple({column: _cell(row.get(column)) for column in columns} for row in head[:count]),
        tuple(dict.fromkeys(encodable(name) for row in head for name in addresses_in(row)))[
            :MOST_ADDRESSES
        ],
        recognise(head),
    )


def _shortened(value: Any) -> Any:
    """The value with its long texts and lists cut: a hundred whole rows may not fit in memory."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        # The end is kept, because that is where answers are marked.
        half = LONGEST_TEXT // 2
        return value[:half] + value[-half:]
    if isinstance(value, list):
        return [_shortened(item) for item in value[:LONGEST_LIST]]
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    return value


def _cell(value: object) -> str:
    text = (
        json.dumps(value, ensure_ascii=False, default=str)
        if isinstance(value, dict | list)
        else ""
        if value is None
        else str(value)
    )
    # JSON can hold half of a surrogate pair, which no page can be sent.
    return text[:LONGEST_CELL].encode("utf-8", "replace").decode()
