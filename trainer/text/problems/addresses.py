"""Values inside a row by address: `answer`, `reward_model.ground_truth`, `answers.text[0]`.

An address is the name of a column, followed by names of nested values (after a dot) and by
positions in lists (in brackets, from 0; -1 is the last). A column whose own name has dots or
brackets is found by that name. Text that is JSON, as tables of text hold nested values, is opened
where an address goes on inside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from trainer.text.problems.formats.json_lines import DECODER

POSITION = re.compile(r"\[(-?\d{1,9})\]")
# Depth and number of the addresses that are offered for choosing.
DEEPEST = 6
MOST_ADDRESSES = 300


class NoValueError(LookupError):
    """A row has nothing at an address."""


def value_at(values: Mapping[str, Any], address: str) -> Any:
    """The value at an address of a row. Raises NoValueError."""
    return _inside(values, address)


def opened(value: Any) -> Any:
    """The list or group that a text holds as JSON; any other value as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return DECODER.decode(value)
    except (json.JSONDecodeError, RecursionError):
        return value


def addresses_in(values: Mapping[str, Any]) -> Iterator[str]:
    """The addresses of what can be mapped in a row, at most MOST_ADDRESSES of each column."""
    for name, value in values.items():
        for number, address in enumerate(_below(name, value, DEEPEST)):
            if number == MOST_ADDRESSES:
                break
            yield address


def _inside(value: Any, address: str) -> Any:
    if not address:
        return value
    value = opened(value)
    if isinstance(value, Mapping):
        return _in_group(value, address)
    match = POSITION.match(address)
    if not isinstance(value, list) or match is None:
        raise NoValueError(address)
    try:
        item = value[int(match[1])]
    except IndexError:
        raise NoValueError(address) from None
    return _inside(item, address[match.end() :].removeprefix("."))


def _in_group(group: Mapping[str, Any], address: str) -> Any:
    if address in group:
        return group[address]
    # The longest name first: `a.b` may be one column.
    ends = [index for index, character in enumerate(address) if character in ".["]
    for end in reversed(ends):
        if address[:end] in group:
            return _inside(group[address[:end]], address[end:].removeprefix("."))
    raise NoValueError(address)


def _below(address: str, value: Any, depth: int) -> Iterator[str]:
    value = opened(value)
    if isinstance(value, Mapping):
        if isinstance(value.get("text"), list):
            # Choices with their labels.
            yield address
        for name, item in value.items() if depth else ():
            yield from _below(f"{address}.{name}", item, depth - 1)
    else:
        yield address
        if isinstance(value, list) and value and depth:
            yield from _below(f"{address}[0]", value[0], depth - 1)
