"""CSV with a header line: comma, semicolon, tab or bar between values, quotes as in RFC 4180.

A first line such as `sep=;`, as Excel writes and reads it, names the separator. Python's own reader
is not used: its limit on the length of a value is one for the whole process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from trainer.text.problems.formats.text_lines import LONGEST_LINE, TextLine, lines
from trainer.text.problems.records import ProblemError, Row

SEPARATORS = ",;\t|"
SEPARATOR_LINE = re.compile(r'"?sep=(?P<separator>[^"\r\n])"?[\r\n]*', re.IGNORECASE)
ENDS = "\r\n"
# The last line of a record, and its values.
Record = tuple[int, list[str]]


def read(path: Path) -> Iterator[Row]:
    """Rows of the file without empty lines. Raises ProblemError with the number of the line."""
    separator, skipped = _separator(path)
    all_records = _records(islice(lines(path), skipped, None), separator, path.name)
    records = (record for record in all_records if record[1] != [""])
    _, names = next(records, (0, []))
    header = [name.strip() for name in names]
    _check_header(header, path.name)
    for number, values in records:
        yield _row(number, header, values, path.name)


def _separator(path: Path) -> tuple[str, int]:
    """The separator and the number of lines before the header."""
    first = next((line for line in lines(path) if line.text.strip()), TextLine(1, "", True))
    if declared := SEPARATOR_LINE.fullmatch(first.text):
        return declared["separator"], first.number
    # It occurs most often in the header outside quotes.
    unquoted = "".join(first.text.split('"')[::2])
    return max(SEPARATORS, key=unquoted.count), first.number - 1


def _records(text_lines: Iterable[TextLine], separator: str, name: str) -> Iterator[Record]:
    """The values of each record, which goes on in the next line inside quotes."""
    record = _OpenRecord(separator, name)
    for line in text_lines:
        if not record.is_open and '"' not in line.text:
            yield line.number, line.text.rstrip(ENDS).split(separator)
        elif record.takes(line):
            yield line.number, record.values
            record = _OpenRecord(separator, name)
    if record.is_open:
        raise ProblemError(
            f"line {record.first} of {name} is not valid CSV: a quote is opened and never closed"
        )


class _OpenRecord:
    """A record with quotes, read line by line.

    Strict: otherwise a quote that is never closed takes in the rest of the file silently.
    """

    def __init__(self, separator: str, name: str) -> None:
        self.separator, self.name = separator, name
        self.values: list[str] = []
        # Parts of a value in quotes that is not complete; None outside quotes.
        self.quoted: list[str] | None = None
        self.first = self.length = 0

    @property
    def is_open(self) -> bool:
        return self.quoted is not None

    def takes(self, line: TextLine) -> bool:
        """Add the values of a line; True if the record ends with it. Raises ProblemError."""
        self.first = self.first or line.number
        self.length += len(line.text)
        if self.length > LONGEST_LINE:
            raise ProblemError(
                f"the record at line {self.first} of {self.name} is longer than "
                f"{LONGEST_LINE // 2**20} MB; is a quote opened there and never closed?"
            )
        position = 0
        while (end := self._value_end(line, position)) is not None:
            if not line.text.startswith(self.separator, end):
                return True
            position = end + len(self.separator)
        return False

    def _value_end(self, line: TextLine, position: int) -> int | None:
        """Add the value that starts or goes on here; None if it goes on in the next line."""
        text = line.text
        if self.quoted is None and not text.startswith('"', position):
            end = text.find(self.separator, position)
            end = len(text.rstrip(ENDS)) if end < 0 else end
            self.values.append(text[position:end])
            return end
        if self.quoted is None:
            self.quoted, position = [], position + 1
        end = _take_quoted(text, position, self.quoted)
        if not end:
            return None
        self.values.append("".join(self.quoted))
        self.quoted = None
        if not text.startswith(self.separator, end) and text[end:].strip(ENDS):
            raise ProblemError(
                f"line {line.number} of {self.name} is not valid CSV: “{text[end]}” follows the "
                "quote that ends a value; write a quote inside quotes twice"
            )
        return end


def _take_quoted(text: str, position: int, parts: list[str]) -> int:
    """Add the text up to the closing quote to `parts`; the position after it, 0 if it is not there.

    Two quotes are one that belongs to the value.
    """
    while (quote := text.find('"', position)) >= 0:
        parts.append(text[position:quote])
        position = quote + 1
        if not text.startswith('"', position):
            return position
        parts.append('"')
        position += 1
    parts.append(text[position:])
    return 0


def _check_header(header: list[str], name: str) -> None:
    if header and not any(header):
        raise ProblemError(
            f"the header of {name} names no column; write the names into its first line"
        )
    seen: set[str] = set()
    for column in header:
        if column and column in seen:
            raise ProblemError(
                f"the header of {name} has two columns called “{column[:80]}”; rename one"
            )
        seen.add(column)


def _row(number: int, header: list[str], values: list[str], name: str) -> Row:
    # Sheets end their rows with empty cells.
    while len(values) > len(header) and not values[-1]:
        values.pop()
    if len(values) != len(header):
        counts = f"{len(values)} values, the header has {len(header)}"
        raise ProblemError(
            f"line {number} of {name} has {counts}; "
            "put values that contain a separator or line break in quotes"
        )
    # A column without a name is an index or the empty end of a sheet.
    named = {column: value for column, value in zip(header, values, strict=True) if column}
    return Row(number, named)
