"""Lines of a text file, decoded one at a time.

A file of any size is read in constant memory, and an error names its line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trainer.text.problems.records import ProblemError

# Bytes. A binary file may have no line break at all.
LONGEST_LINE = 8 * 1024 * 1024


class TextLine(NamedTuple):
    """`number` counts from 1; `is_complete` is False for a last line without a line break."""

    number: int
    text: str
    is_complete: bool


def lines(path: Path) -> Iterator[TextLine]:
    """Lines with their line breaks. Raises ProblemError if the file is not UTF-8 text."""
    with path.open("rb") as file:
        number = 0
        while content := file.readline(LONGEST_LINE):
            number += 1
            if len(content) == LONGEST_LINE:
                raise ProblemError(
                    f"line {number} of {path.name} is longer than {LONGEST_LINE // 2**20} MB; "
                    "is it a text file?"
                )
            # The first line may begin with the byte order mark that spreadsheets write.
            text = _decoded(
                content.removeprefix(b"\xef\xbb\xbf") if number == 1 else content, number, path.name
            )
            yield TextLine(number, text, content.endswith(b"\n"))


def _decoded(content: bytes, number: int, name: str) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        bad_byte = f"byte 0x{content[error.start]:02x} at position {error.start + 1}"
        raise ProblemError(
            f"line {number} of {name} is not UTF-8 text ({bad_byte}); save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise ProblemError(
            f"line {number} of {name} contains a NUL character; is it a text file in UTF-8?"
        )
    return text
