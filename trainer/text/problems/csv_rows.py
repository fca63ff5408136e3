"""CSV with a header line: comma, semicolon, tab or bar between values, quotes as in RFC 4180."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from trainer.text.problems.records import ProblemError, Row
from trainer.text.problems.text_lines import lines

SEPARATORS = ",;\t|"


def read(path: Path) -> Iterator[Row]:
    """Rows of the file without empty lines. Raises ProblemError with the number of the line."""
    # The separator occurs most often in the header outside quotes.
    unquoted = "".join(next((line.text for line in lines(path)), "").split('"')[::2])
    separator = max(SEPARATORS, key=unquoted.count)
    # Strict: otherwise a quote that is never closed takes in the rest of the file silently.
    reader = csv.reader((line.text for line in lines(path)), delimiter=separator, strict=True)
    header: list[str] | None = None
    while (values := _next(reader, path.name)) is not None:
        if header is None:
            header = [value.strip() for value in values]
            if twice := next((value for value in header if header.count(value) > 1), None):
                raise ProblemError(
                    f"the header of {path.name} has two columns called “{twice}”; rename one"
                )
        elif values:
            yield _row(reader.line_num, header, values, path.name)


def _next(reader: Iterator[list[str]], name: str) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        number = getattr(reader, "line_num", 0)
        reason = "a quote is opened and never closed" if "end of data" in str(error) else str(error)
        raise ProblemError(f"line {number} of {name} is not valid CSV: {reason}") from None


def _row(number: int, header: list[str], values: list[str], name: str) -> Row:
    if len(values) != len(header):
        counts = f"{len(values)} values, the header has {len(header)}"
        raise ProblemError(
            f"line {number} of {name} has {counts}; "
            "put values that contain a separator or line break in quotes"
        )
    return Row(number, dict(zip(header, values, strict=True)))
