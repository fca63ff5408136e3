"""Text of a data file, decoded a line or a block at a time.

A file of any size is read in constant memory, and an error names its line. A line ends with a line
feed, a carriage return, or both: spreadsheets write all three.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from trainer.text.problems.records import ProblemError

# Characters. A binary file may have no line break at all.
LONGEST_LINE = 8 * 1024 * 1024
BLOCK = 64 * 1024


class TextLine(NamedTuple):
    """`number` counts from 1; `is_complete` is False for a last line without a line break."""

    number: int
    text: str
    is_complete: bool


def lines(path: Path) -> Iterator[TextLine]:
    """Lines with their line breaks. Raises ProblemError if the file is not UTF-8 text."""
    with _opened(path) as file:
        number = 0
        while text := file.readline(LONGEST_LINE):
            number += 1
            if len(text) == LONGEST_LINE:
                raise ProblemError(
                    f"line {number} of {path.name} is longer than {LONGEST_LINE // 2**20} MB; "
                    "is it a text file?"
                )
            _check(text, number, path.name)
            yield TextLine(number, text, text.endswith(("\n", "\r")))


def blocks(path: Path) -> Iterator[str]:
    """The text in parts of BLOCK characters, which may end anywhere in a line.

    Raises ProblemError if the file is not UTF-8 text.
    """
    with _opened(path) as file:
        number = 1
        while text := file.read(BLOCK):
            for line in text.split("\n"):
                _check(line, number, path.name)
                number += 1
            # The last line of a block goes on in the next one.
            number -= 1
            yield text


def _opened(path: Path) -> TextIO:
    # A byte that is no UTF-8 becomes half of a surrogate pair here, so that `_check` can name its
    # line. A byte order mark at the start, as spreadsheets write it, is left out.
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _check(text: str, number: int, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        position = len(text[: error.start].encode("utf-8", "surrogateescape")) + 1
        raise ProblemError(
            f"line {number} of {name} is not UTF-8 text (byte 0x{byte:02x} at position "
            f"{position}); save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise ProblemError(
            f"line {number} of {name} contains a NUL character; is it a text file in UTF-8?"
        )
