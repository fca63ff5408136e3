"""Values inside a row by address: `answer`, `reward_model.ground_truth`, `answers.text[0]`.

An address is the name of a column, followed by names of nested values (after a dot) and by
positions in lists (in brackets, from 0; -1 is the last). A column whose own name has dots or
brackets is found by that name. Text that is JSON, or a list in Python's notation, as tables of text
hold nested values, is opened where an address goes on inside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from trainer.text.problems.formats import python_values
from trainer.text.problems.formats.json_lines import DECODER

POSITION = re.compile(r"\[(-?\d{1,9})\]")
# Depth and number of the addresses that are offered for choosing.
DEEPEST = 6
MOST_ADDRESSES = 300
# Dots and brackets in the name of one column.
MOST_PARTS = 100


class NoValueError(LookupError):
    """A row has nothing at an address."""


def value_at(values: Mapping[str, Any], address: str) -> Any:
    """The value at an address of a row. Raises NoValueError."""
    return _inside(values, address)


def opened(value: Any) -> Any:
    """The list or group that a text holds as JSON or in Python's notation; else the value."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return DECODER.decode(value)
    # Recursion: it is nested too deeply.
    except (ValueError, RecursionError):
        pass
    try:
        return python_values.parse(value)
    except python_values.NotPythonError:
        return value


def opened_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its texts opened once, for looking at many addresses of it."""
    return {name: opened(value) for name, value in values.items()}


def addresses_in(values: Mapping[str, Any]) -> Iterator[str]:
    """The addresses of what can be mapped in an opened row, MOST_ADDRESSES of each column."""
    for name, value in values.items():
        yield from islice(_below(name, value, DEEPEST), MOST_ADDRESSES)


def _inside(value: Any, address: str) -> Any:
    # A loop and no recursion: an address may be as deep as JSON is.
    while address:
        value = opened(value)
        if isinstance(value, Mapping):
            value, address = _in_group(value, address)
            continue
        match = POSITION.match(address)
        if not isinstance(value, list) or match is None:
            raise NoValueError(address)
        try:
            value = value[int(match[1])]
        except IndexError:
            raise NoValueError(address) from None
        address = address[match.end() :].removeprefix(".")
    return value


def _in_group(group: Mapping[str, Any], address: str) -> tuple[Any, str]:
    """The value whose name begins the address, and the rest of the address."""
    if address in group:
        return group[address], ""
    # The longest name first: `a.b` may be one column.
    ends = (index for index, character in enumerate(address) if character in ".[")
    for end in reversed(list(islice(ends, MOST_PARTS))):
        if address[:end] in group:
            return group[address[:end]], address[end:].removeprefix(".")
    raise NoValueError(address)


def _below(address: str, value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("text"), list):
            # Choices with their labels.
            yield address
        for name, item in value.items() if depth else ():
            yield from _below(f"{address}.{name}", opened(item), depth - 1)
    else:
        yield address
        if isinstance(value, list) and value and depth:
            yield from _below(f"{address}[0]", opened(value[0]), depth - 1)
