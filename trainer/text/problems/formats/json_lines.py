"""JSON Lines: one object per line. Numbers keep their spelling, so 0.10 stays 0.10."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.text.problems.formats.text_lines import TextLine, lines
from trainer.text.problems.records import ProblemError, Row

# NaN and infinities mean a missing value: that is how tables export one.
DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=lambda _: None)


def read(path: Path) -> Iterator[Row]:
    """Rows of the file without empty lines. Raises ProblemError with the number of the line."""
    for line in lines(path):
        if line.text.strip():
            yield Row(line.number, _object(line, path.name))


def _object(line: TextLine, name: str) -> dict[str, Any]:
    try:
        value = DECODER.decode(line.text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ProblemError(_parse_error(line, name, error)) from None
    if isinstance(value, dict):
        return value
    is_list = isinstance(value, list) and line.number == 1
    reason = (
        "one JSON list; set the format to json or auto, or write one object per line"
        if is_list
        else 'no JSON object such as {"question": "…", "answer": "…"}'
    )
    raise ProblemError(f"line {line.number} of {name} is {reason}")


def _parse_error(line: TextLine, name: str, error: Exception) -> str:
    if not line.is_complete and line.number > 1:
        return (
            f"line {line.number} of {name}, the last, is cut off; was the file copied completely?"
        )
    if line.text.strip() in ("[", "{"):
        return (
            f"line {line.number} of {name} starts a value of several lines; "
            "write one object per line (JSON Lines)"
        )
    reason = (
        f"{error.msg} at column {error.colno}"
        if isinstance(error, json.JSONDecodeError)
        else "it is nested too deeply"
    )
    return f"line {line.number} of {name} is not valid JSON: {reason}"
