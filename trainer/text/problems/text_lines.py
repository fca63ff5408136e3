"""Lines of a text file, decoded one at a time: a file of any size is read in constant memory, and
an error knows its line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trainer.text.problems.records import ProblemError

LONGEST_LINE = 8 * 1024 * 1024  # bytes; a binary file may have no line break at all


class Line(NamedTuple):
    """`number` counts from 1; `whole` is False for a last line without a line break."""

    number: int
    text: str
    whole: bool


def lines(path: Path) -> Iterator[Line]:
    """Lines with their line breaks. Raises ProblemError for what is no UTF-8 text."""
    with path.open("rb") as file:
        number = 0
        while content := file.readline(LONGEST_LINE):
            number += 1
            if len(content) == LONGEST_LINE:
                raise ProblemError(
                    f"line {number} of {path.name} is longer than {LONGEST_LINE // 2**20} MB; is it a text file?"
                )
            text = _decoded(
                content.removeprefix(b"\xef\xbb\xbf") if number == 1 else content, number, path.name
            )
            yield Line(number, text, content.endswith(b"\n"))


def _decoded(content: bytes, number: int, name: str) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"byte 0x{content[error.start]:02x} at position {error.start + 1}"
        raise ProblemError(
            f"line {number} of {name} is not UTF-8 text ({found}); save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise ProblemError(
            f"line {number} of {name} contains a NUL character; is it a text file in UTF-8?"
        )
    return text
