"""The fields of the form, read from the run definition in `trainer.spec`.

`trainer.spec.fields()` lists a setting once for each alternative that has it (a temperature for
each objective). Those that differ in nothing but the choice they belong to become one `Setting`
here, which matters for any of these choices. A list of sections is written as `*` in a path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from trainer.spec import RunSpec
from trainer.spec.base import Section
from trainer.spec.fields.field_list import FieldInfo, fields

Conditions = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Setting:
    """A field of the form. It matters if every path in `conditions` has one of its values."""

    info: FieldInfo
    conditions: Conditions

    @property
    def path(self) -> str:
        return self.info.path


@cache
def settings(root: type[Section] = RunSpec) -> tuple[Setting, ...]:
    """Return every setting below `root`, in the order of the definition."""
    merged: dict[tuple[object, ...], Setting] = {}
    for info in fields(root):
        conditions: dict[str, tuple[str, ...]] = {path: (value,) for path, value in info.when}
        # All that must be equal for two settings to be one field. FieldInfo holds lists and dicts,
        # which cannot be hashed: its repr stands for them.
        without_choice = replace(info, when=())
        key = (info.path, repr(without_choice), frozenset(path for path, _ in info.when))
        if key in merged:
            conditions = {
                path: tuple(dict.fromkeys((*values, *conditions[path])))
                for path, values in merged[key].conditions.items()
            }
        merged[key] = Setting(merged[key].info if key in merged else info, conditions)
    return tuple(
        replace(setting, conditions=dict(setting.info.conditions) | dict(setting.conditions))
        for setting in merged.values()
    )


@cache
def list_paths() -> tuple[str, ...]:
    """Return the paths of the lists of sections, such as "stages"."""
    paths = (list_path(setting.path) for setting in settings())
    return tuple(dict.fromkeys(path for path in paths if path))


@cache
def item_prefix() -> re.Pattern[str]:
    """Return a pattern for the prefix of a name below a list; its groups are path and index."""
    return re.compile(rf"({'|'.join(map(re.escape, list_paths()))})\.(\d{{1,4}})\.")


def list_path(path: str) -> str:
    """Return the path of the list that a path with `*` is below; empty for any other path."""
    return path.partition(".*.")[0] if ".*." in path else ""


def with_index(path: str, index: int | str) -> str:
    """Return the name of a setting in one item of its list."""
    return path.replace("*", str(index), 1)
