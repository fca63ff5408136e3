"""Values as clients send them: numbers by key, and the keys of what is not a number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trainer import json_numbers
from webapp.clients.client_batch import key


def numbers(metrics: dict[str, Any], prefix: str = "") -> tuple[dict[str, float], list[str]]:
    """Return numbers by key, and the keys of other values and of repeated keys."""
    number_by_key: dict[str, float] = {}
    not_numbers = []
    for name, value in flat(metrics, prefix):
        # Most values are floats, and a request may have thousands: these skip the call.
        number = value if type(value) is float else _number(value)
        series_key = key(name)
        if number is not None and series_key not in number_by_key:
            number_by_key[series_key] = number
        elif value is not None:
            not_numbers.append(series_key)
    return number_by_key, not_numbers


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return json_numbers.decode(value)
    # `bool` is a subclass of `int`, so that True and False become 1 and 0.
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def flat(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the values of nested dictionaries under keys such as `outer/inner`."""
    for name, value in values.items():
        # Trackio's client writes a table, histogram or figure as a dictionary with `_type`: one
        # value, which is no number.
        if isinstance(value, dict) and value and "_type" not in value:
            yield from flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value
