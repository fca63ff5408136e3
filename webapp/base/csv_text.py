"""Rows as CSV that a spreadsheet shows and does not execute.

A cell that begins with =, +, - or @ is a formula for spreadsheets, which may then read other cells,
send them to an address, or start programs. An apostrophe before it makes it text (OWASP, "CSV
Injection"). Numbers stay numbers, also those that are stored as text.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from typing import Any

# With the full-width forms, which Excel reads alike in Japanese.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# These are skipped by some programs, and a formula begins behind them.
SKIPPED = ("\t", "\r", "\n")
NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)", re.ASCII)


def text_of(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV, each ended by a line feed."""
    lines = _Lines()
    # A cell with a sign of this line end is quoted.
    csv.writer(lines, lineterminator="\r\n").writerows(map(cell, row) for row in rows)
    return "".join(lines.ended)


class _Lines:
    """Takes each row of a CSV writer, and ends it by a line feed alone."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def write(self, row: str) -> None:
        self.ended.append(f"{row[:-2]}\n")


def cell(value: Any) -> Any:
    """Return a value as a spreadsheet should get it."""
    if not isinstance(value, str) or NUMBER.fullmatch(value):
        return value
    begins_formula = value.lstrip().startswith(FORMULA) or value.startswith(SKIPPED)
    return f"'{value}" if begins_formula else value
