"""Columns and first rows of a data file, for choosing the column mapping.

Only the head of the file is read, so the time does not depend on its size.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from trainer.spec.base import encodable
from trainer.text.problems import files
from trainer.text.problems.addresses import addresses_in, opened_row
from trainer.text.problems.records import ProblemError
from trainer.text.problems.shapes import Shape, recognise

HEAD_ROWS = 100
LONGEST_CELL = 2_000
MOST_COLUMNS = 1_000
# Characters of the name of a column, and of an address that is offered.
LONGEST_NAME = 500
MOST_ADDRESSES = 300
# Of what is looked at to recognise a format: the characters of a text, the items of a list and of a
# group, and the depth of both.
LONGEST_TEXT, LONGEST_LIST, LARGEST_GROUP, DEEPEST = 20_000, 100, 1_000, 20


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
    head: list[dict[str, Any]] = []
    opened_head: list[dict[str, Any]] = []
    columns: dict[str, None] = {}
    for row in files.head(path, HEAD_ROWS, split=split):
        columns |= dict.fromkeys(encodable(str(column)) for column in row.values)
        if len(columns) > MOST_COLUMNS:
            raise ProblemError(
                f"{path.name} has {len(columns):,} columns; at most {MOST_COLUMNS:,} are read. "
                "Is it a table of problems?"
            )
        if long := next((name for name in columns if len(name) > LONGEST_NAME), None):
            raise ProblemError(
                f"{path.name} has a column whose name has {len(long):,} characters; at most "
                f"{LONGEST_NAME} are read. Does the file start with the names of its columns?"
            )
        values = {encodable(str(column)): value for column, value in row.values.items()}
        head.append(_shortened(values))
        # Text that holds a list or group is read once, and not for each look at it.
        opened_head.append(_shortened(opened_row(values)))
    if not head:
        raise ProblemError(f"{path.name} has no rows after its header; it needs one per problem")
    return Inspection(
        format,
        tuple(columns),
        tuple({column: _cell(row.get(column)) for column in columns} for row in head[:count]),
        _addresses(opened_head),
        recognise(head, opened_head),
    )


def _addresses(opened_head: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    addresses: dict[str, None] = {}
    for row in opened_head:
        for address in addresses_in(row):
            if len(address) <= LONGEST_NAME:
                addresses[encodable(address)] = None
            if len(addresses) == MOST_ADDRESSES:
                return tuple(addresses)
    return tuple(addresses)


def _shortened(value: Any, depth: int = DEEPEST) -> Any:
    """The value with its long texts and lists cut: a hundred whole rows may not fit in memory."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        # The end is kept, because that is where answers are marked.
        half = LONGEST_TEXT // 2
        return value[:half] + value[-half:]
    if isinstance(value, list):
        return [_shortened(item, depth - 1) for item in value[:LONGEST_LIST]] if depth else []
    if isinstance(value, dict):
        items = islice(value.items(), LARGEST_GROUP if depth else 0)
        return {key: _shortened(item, depth - 1) for key, item in items}
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
