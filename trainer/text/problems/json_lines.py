"""JSON Lines: one object per line. Numbers are kept as they are written, so that 0.10 stays
0.10.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.text.problems.records import ProblemError, Row
from trainer.text.problems.text_lines import Line, lines


def read(path: Path) -> Iterator[Row]:
    """Rows of the file; empty lines are passed over. Raises ProblemError with the line's number."""
    for line in lines(path):
        if line.text.strip():
            yield Row(line.number, _object(line, path.name))


def _object(line: Line, name: str) -> dict[str, Any]:
    try:
        value = json.loads(line.text, parse_int=str, parse_float=str, parse_constant=_nothing)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ProblemError(_complaint(line, name, error)) from None
    if isinstance(value, dict):
        return value
    whole = isinstance(value, list) and line.number == 1
    reason = (
        "one JSON list; write one object per line instead"
        if whole
        else 'no JSON object such as {"question": "…", "answer": "…"}'
    )
    raise ProblemError(f"line {line.number} of {name} is {reason}")


def _complaint(line: Line, name: str, error: Exception) -> str:
    if not line.whole and line.number > 1:
        return f"line {line.number} of {name}, the last, is cut off; was the file copied whole?"
    if line.text.strip() in ("[", "{"):
        return f"line {line.number} of {name} begins a value of several lines; write one object per line (JSON Lines)"
    reason = (
        f"{error.msg} at column {error.colno}"
        if isinstance(error, json.JSONDecodeError)
        else "it is nested too deeply"
    )
    return f"line {line.number} of {name} is not valid JSON: {reason}"


def _nothing(constant: str) -> None:
    """NaN and infinities are how tables write that there is nothing."""
