"""The settings in which two definitions differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NOT_SET = "not set"


@dataclass(frozen=True)
class SettingChange:
    """A setting by its dotted path, and its value before and after as text."""

    path: str
    before: str
    after: str


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[SettingChange]:
    """Return every setting that differs, in the order of `after`, then those only in `before`."""
    old, new = dict(_flatten(before)), dict(_flatten(after))
    return [
        SettingChange(path, old.get(path, NOT_SET), new.get(path, NOT_SET))
        for path in {**new, **old}
        if old.get(path) != new.get(path)
    ]


def settings_of(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every setting that has a value, as (dotted path, text)."""
    return _flatten(definition)


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield settings as (path, text). A list of sections is walked; a list of values is a value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for index, inner in enumerate(value):
            yield from _flatten(inner, f"{path}.{index}")
    elif value is not None:
        yield path, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
