"""What one definition says otherwise than another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NOTHING = "not set"


@dataclass(frozen=True)
class Change:
    """A setting by its dotted path, and its value before and after as text."""

    path: str
    before: str
    after: str


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Every setting that differs, in the order of `after`, then those that only `before` has."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    return [
        Change(path, old.get(path, NOTHING), new.get(path, NOTHING))
        for path in {**new, **old}
        if old.get(path) != new.get(path)
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Settings as (path, text). A list of sections is walked; a list of values is a value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for at, inner in enumerate(value):
            yield from _leaves(inner, f"{path}.{at}")
    elif value is not None:
        yield path, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
