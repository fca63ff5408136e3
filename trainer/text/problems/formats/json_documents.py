"""JSON that is not one object per line: a list of objects, objects over several lines, or columns.

A list is read entry by entry, so its size is no limit. An object around the list of rows, such as
`{"version": 1, "data": [{…}, …]}`, is read as the list; one with a list for each split is read as
the list of the chosen one. Columns are what pandas' `to_json` writes: `{"question": {"0": …}}`,
`{"question": […], "answer": […]}`, `{"columns": […], "data": [[…], …]}`, and `{"<id>": {…}, …}`
for rows by their ids. Numbers keep their spelling, as in json_lines.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from trainer.text.problems.formats.json_lines import DECODER
from trainer.text.problems.formats.text_lines import blocks
from trainer.text.problems.records import ProblemError, Row

# Characters of one entry, or of a whole file of columns.
LONGEST_ENTRY = 64 * 1024 * 1024
# An error so near to the end of what has been read may come from the part that follows.
NEAR = 16
SPACE = " \t\r\n"
# Names under which published data sets keep the list of their rows.
SPLIT_NAMES = ("train", "test", "validation", "valid", "dev", "eval")
LIST_NAMES = ("data", "rows", "examples", "instances", "items", "problems", *SPLIT_NAMES)
# An object around the list of rows, which may have a version or the like before it.
WRAPPED = re.compile(
    r'\{\s*(?:"[^"]*"\s*:\s*(?:"[^"]*"|[\w.+-]+)\s*,\s*)*'
    rf'"(?:{"|".join(LIST_NAMES)})"\s*:\s*\[\s*\{{'
)


def read(path: Path, split: str | None = None) -> Iterator[Row]:
    """Rows of the file, of the list named `split` where it has one.

    Raises ProblemError with the number of the entry.
    """
    yield from (
        Row(number, _object(value, number, path.name))
        for number, value in enumerate(_entries(path, split), 1)
    )


def _entries(path: Path, split: str | None) -> Iterator[Any]:
    text = _Text(path)
    if text.peek() == "[":
        yield from text.items()
        text.check_end()
        return
    if text.peek() == "{" and text.is_wrapper():
        yield from _wrapped(text, split)
        return
    first = text.value(1)
    if not text.peek():
        yield from _rows_of_document(first, split, path.name)
        return
    yield first
    number = 2
    while text.peek():
        yield text.value(number)
        number += 1


def _wrapped(text: _Text, split: str | None) -> Iterator[Any]:
    """The entries of the list in the object that starts here."""
    lists: list[str] = []
    for name in text.members():
        if name not in LIST_NAMES or text.peek() != "[":
            text.value(1)
            continue
        lists.append(name)
        _check_split(lists, split, text.name)
        is_chosen = split not in SPLIT_NAMES or name == split
        yield from (item for item in text.items() if is_chosen)
    text.check_end()


def _check_split(lists: list[str], split: str | None, name: str) -> None:
    if len(lists) > 1 and split not in SPLIT_NAMES:
        names = " and ".join(f"“{name}”" for name in lists)
        raise ProblemError(
            f"{name} has a list of rows for each of {names}; choose one by its split, or save each "
            "list as a file of its own"
        )


def _rows_of_document(value: Any, split: str | None, name: str) -> Iterable[Any]:
    """The rows in the only object of a file: the list that it wraps, its columns, or itself."""
    entries = value.items() if isinstance(value, dict) else ()
    lists = {name: rows for name, rows in entries if name in LIST_NAMES and _is_rows(rows)}
    _check_split(list(lists), split, name)
    if lists:
        return lists[split] if split in lists else next(iter(lists.values()))
    return _from_columns(value)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _from_columns(value: Any) -> Iterable[Any]:
    """The rows of a table in the notations of pandas, or the value itself as the only row."""
    if not isinstance(value, dict) or len(value) < 2:
        return [value]
    columns = list(value.values())
    if isinstance(value.get("data"), list) and isinstance(value.get("columns"), list):
        names = value["columns"]
        if all(isinstance(row, list) and len(row) == len(names) for row in value["data"]):
            return (dict(zip(map(str, names), row, strict=True)) for row in value["data"])
    if all(isinstance(column, dict) and column for column in columns):
        keys = list(columns[0])
        if all(key.isdecimal() for key in keys):
            return ({name: column.get(key) for name, column in value.items()} for key in keys)
        if all(keys[0] in column for column in columns):
            return ({"id": id, **row} for id, row in value.items())
    if all(isinstance(column, list) for column in columns) and _is_table(columns):
        return (dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True))
    return [value]


def _is_table(columns: list[list[Any]]) -> bool:
    """Whether lists are columns, and not the conversations or choices of one row."""
    lengths = {len(column) for column in columns}
    return len(lengths) == 1 and max(lengths) > 1 and not isinstance(columns[0][0], dict)


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
                # A comma may follow the last entry.
                if self.peek() == "]":
                    break
            number += 1
            yield self.value(number)
        self.index += 1

    def members(self) -> Iterator[str]:
        """The names in the object that starts here; the caller reads the value of each."""
        self.index += 1
        while self.peek() == '"':
            name = self.value(1)
            if self.peek() != ":":
                raise self._unreadable(1, "a colon is missing")
            self.index += 1
            self.peek()
            yield name
            if self.peek() != ",":
                break
            self.index += 1
        if self.peek() != "}":
            raise self._unreadable(1, "a name in quotes or the end of the object is missing")
        self.index += 1

    def is_wrapper(self) -> bool:
        """Whether the object that starts here has a list of rows behind its first plain values."""
        return WRAPPED.match(self.buffer, self.index) is not None

    def check_end(self) -> None:
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
