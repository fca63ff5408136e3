"""JSON that is not one object per line: a list of objects, or objects over several lines.

A list is read entry by entry, so its size is no limit. An object around the list of rows, such as
`{"version": 1, "data": [{…}, …]}`, is read as the list. Numbers keep their spelling, as in
json_lines.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.text.problems.formats.json_lines import DECODER
from trainer.text.problems.formats.text_lines import blocks
from trainer.text.problems.records import ProblemError, Row

# Characters of one entry.
LONGEST_ENTRY = 64 * 1024 * 1024
# An error so near to the end of what has been read may come from the part that follows.
NEAR = 16
SPACE = " \t\r\n"
# Names under which published data sets keep the list of their rows.
LIST_NAMES = ("data", "rows", "examples", "instances", "items", "problems", "train", "test")


def read(path: Path) -> Iterator[Row]:
    """Rows of the file. Raises ProblemError with the number of the entry."""
    yield from (
        Row(number, _object(value, number, path.name))
        for number, value in enumerate(_entries(path), 1)
    )


def _entries(path: Path) -> Iterator[Any]:
    text = _Text(path)
    if text.peek() == "[":
        yield from text.items()
        return
    first = text.value(1)
    if text.peek():
        yield first
        number = 2
        while text.peek():
            yield text.value(number)
            number += 1
    else:
        yield from _wrapped(first)


def _wrapped(value: Any) -> list[Any]:
    """The rows in the only object of a file: the list that it wraps, or itself."""
    entries = value.items() if isinstance(value, dict) else ()
    lists = [rows for name, rows in entries if name in LIST_NAMES and _is_rows(rows)]
    return lists[0] if len(lists) == 1 else [value]


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _object(value: Any, number: int, name: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ProblemError(
        f'entry {number} of {name} is no JSON object such as {{"question": "…", "answer": "…"}}'
    )


class _Text:
    """The text of a file, of which only the entry that is being read is in memory."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.blocks = blocks(path)
        self.buffer = ""
        self.index = 0

    def peek(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            while self.index < len(self.buffer):
                if self.buffer[self.index] not in SPACE:
                    return self.buffer[self.index]
                self.index += 1
            if not self._more():
                return ""

    def items(self) -> Iterator[Any]:
        """The entries of the list that starts here."""
        self.index += 1
        number = 0
        while self.peek() != "]":
            if number:
                if self.peek() != ",":
                    raise self._unreadable(number + 1, "a comma or the end of the list is missing")
                self.index += 1
                self.peek()
            number += 1
            yield self.value(number)
        self.index += 1
        if self.peek():
            raise ProblemError(
                f"{self.name} goes on after the end of its list; write one list of all rows"
            )

    def value(self, number: int) -> Any:
        """The value that starts here, which is entry `number`."""
        while True:
            try:
                value, self.index = DECODER.raw_decode(self.buffer, self.index)
                return value
            except RecursionError:
                raise self._unreadable(number, "it is nested too deeply") from None
            except json.JSONDecodeError as error:
                is_cut = error.pos > len(self.buffer) - NEAR or "Unterminated" in error.msg
                if not is_cut or not self._double():
                    raise self._unreadable(number, error.msg) from None
            if len(self.buffer) - self.index > LONGEST_ENTRY:
                raise self._unreadable(
                    number, f"it is longer than {LONGEST_ENTRY // 2**20} million characters"
                )

    def _double(self) -> bool:
        """Read as much again as is in memory: a long entry is parsed a few times, not many."""
        target = 2 * (len(self.buffer) - self.index)
        grew = self._more()
        while grew and len(self.buffer) - self.index < target and self._more():
            pass
        return grew

    def _more(self) -> bool:
        block = next(self.blocks, "")
        if block:
            self.buffer = self.buffer[self.index :] + block
            self.index = 0
        return bool(block)

    def _unreadable(self, number: int, reason: str) -> ProblemError:
        if self._is_at_end():
            return ProblemError(
                f"{self.name} is cut off in entry {number}; was the file copied completely?"
            )
        return ProblemError(f"entry {number} of {self.name} is not valid JSON: {reason}")

    def _is_at_end(self) -> bool:
        """Whether the file ends inside a value that would be complete with more text."""
        if next(self.blocks, ""):
            return False
        try:
            DECODER.raw_decode(self.buffer, self.index)
        except json.JSONDecodeError as error:
            end = len(self.buffer.rstrip(SPACE))
            return error.pos >= end or "Unterminated" in error.msg
        except RecursionError:
            return False
        return False
