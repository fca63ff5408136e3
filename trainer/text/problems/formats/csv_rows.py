"""CSV with a header line: comma, semicolon, tab or bar between values, quotes as in RFC 4180.

A first line such as `sep=;`, as Excel writes and reads it, names the separator.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from trainer.text.problems.formats.text_lines import LONGEST_LINE, lines
from trainer.text.problems.records import ProblemError, Row

SEPARATORS = ",;\t|"
SEPARATOR_LINE = re.compile(r'"?sep=(?P<separator>[^"\r\n])"?[\r\n]*', re.IGNORECASE)
# Python's own limit is 131,072 characters: a longer value is refused or left out by its row.
csv.field_size_limit(LONGEST_LINE)


def read(path: Path) -> Iterator[Row]:
    """Rows of the file without empty lines. Raises ProblemError with the number of the line."""
    separator, skipped = _separator(path)
    text = (line.text for line in islice(lines(path), skipped, None))
    # Strict: otherwise a quote that is never closed takes in the rest of the file silently.
    reader = csv.reader(text, delimiter=separator, strict=True)
    header: list[str] | None = None
    while (values := _next(reader, skipped, path.name)) is not None:
        if header is None:
            header = [value.strip() for value in values]
            if twice := next(
                (value for value in header if value and header.count(value) > 1), None
            ):
                raise ProblemError(
                    f"the header of {path.name} has two columns called “{twice}”; rename one"
                )
        elif values:
            yield _row(reader.line_num + skipped, header, values, path.name)


def _separator(path: Path) -> tuple[str, int]:
    """The separator and the number of lines before the header."""
    first = next((line.text for line in lines(path)), "")
    if declared := SEPARATOR_LINE.fullmatch(first):
        return declared["separator"], 1
    # It occurs most often in the header outside quotes.
    unquoted = "".join(first.split('"')[::2])
    return max(SEPARATORS, key=unquoted.count), 0


def _next(reader: Iterator[list[str]], skipped: int, name: str) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        number = getattr(reader, "line_num", 0) + skipped
        reason = "a quote is opened and never closed" if "end of data" in str(error) else str(error)
        raise ProblemError(f"line {number} of {name} is not valid CSV: {reason}") from None


def _row(number: int, header: list[str], values: list[str], name: str) -> Row:
    if len(values) != len(header):
        counts = f"{len(values)} values, the header has {len(header)}"
        raise ProblemError(
            f"line {number} of {name} has {counts}; "
            "put values that contain a separator or line break in quotes"
        )
    # A column without a name is an index or the empty end of a sheet.
    named = {column: value for column, value in zip(header, values, strict=True) if column}
    return Row(number, named)
