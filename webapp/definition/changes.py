"""The settings in which two definitions differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webapp.runs.definitions import flatten

NOT_SET = "not set"


@dataclass(frozen=True)
class SettingChange:
    """A setting by its dotted path, and its value before and after as text."""

    path: str
    before: str
    after: str


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[SettingChange]:
    """Return every setting that differs, in the order of `after`, then those only in `before`."""
    old, new = dict(flatten(before)), dict(flatten(after))
    return [
        SettingChange(path, old.get(path, NOT_SET), new.get(path, NOT_SET))
        for path in {**new, **old}
        if old.get(path) != new.get(path)
    ]
