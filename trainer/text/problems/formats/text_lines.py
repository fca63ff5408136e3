"""Text of a data file, decoded a line or a block at a time.

A file of any size is read in constant memory, and an error names its line. A line ends with a line
feed, a carriage return, or both: spreadsheets write all three. Text is UTF-8, or UTF-16 as
Windows programs write it ("Unicode text").
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from trainer.text.problems.records import ProblemError

# Characters. A binary file may have no line break at all.
LONGEST_LINE = 8 * 1024 * 1024
BLOCK = 64 * 1024
# The longest mark first: that of UTF-32 begins as that of UTF-16 does.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
REMEDY = "save the file as UTF-8 (in Excel: “CSV UTF-8”)"


class TextLine(NamedTuple):
    """`number` counts from 1; `is_complete` is False for a last line without a line break."""

    number: int
    text: str
    is_complete: bool


def encoding_of(head: bytes) -> str:
    """The encoding of a text that starts with `head`: by its byte order mark, or by its NULs."""
    for mark, encoding in MARKS.items():
        if head.startswith(mark):
            return encoding
    # Names of columns and the signs of JSON and CSV are ASCII, of which one byte of UTF-16 is 0.
    start = head[:64]
    if start[1:2] == b"\0" and 0 not in start[::2]:
        return "utf-16-le"
    if start[:1] == b"\0" and start[1:] and 0 not in start[1::2]:
        return "utf-16-be"
    return "utf-8-sig"


def lines(path: Path) -> Iterator[TextLine]:
    """Lines with their line breaks. Raises ProblemError if the file is not text that is read."""
    with _opened(path) as file:
        number = 0
        while text := _read(file, path.name, number + 1, in_lines=True):
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

    Raises ProblemError if the file is not text that is read.
    """
    with _opened(path) as file:
        number = 1
        while text := _read(file, path.name, number, in_lines=False):
            for line in text.split("\n"):
                _check(line, number, path.name)
                number += 1
            # The last line of a block goes on in the next one.
            number -= 1
            yield text


def _opened(path: Path) -> TextIO:
    with path.open("rb") as file:
        encoding = encoding_of(file.read(64))
    # A byte that is no UTF-8 becomes half of a surrogate pair here, so that `_check` can name its
    # line. A byte order mark at the start, as spreadsheets write it, is left out.
    errors = "surrogateescape" if encoding == "utf-8-sig" else "strict"
    return path.open(encoding=encoding, errors=errors, newline="")


def _read(file: TextIO, name: str, number: int, in_lines: bool) -> str:
    try:
        return file.readline(LONGEST_LINE) if in_lines else file.read(BLOCK)
    except UnicodeDecodeError as error:
        encoding = error.encoding.upper()[: len("UTF-16")]
        raise ProblemError(
            f"line {number} of {name}, or one soon after it, is not {encoding} text; {REMEDY}"
        ) from None


def _check(text: str, number: int, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        position = len(text[: error.start].encode("utf-8", "surrogateescape")) + 1
        raise ProblemError(
            f"line {number} of {name} is not UTF-8 text (byte 0x{byte:02x} at position "
            f"{position}), perhaps Windows-1252 or Latin-1; {REMEDY}"
        ) from None
    if "\0" in text:
        raise ProblemError(
            f"line {number} of {name} contains a NUL character; is it a text file in UTF-8?"
        )
