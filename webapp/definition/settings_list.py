"""The settings of a run definition as the form asks for them: what says the same under several
choices is one field.

`trainer.spec.fields()` lists a setting once for each alternative that has it (a temperature for
each objective). Here those that differ in nothing but the choice they belong to are one `Setting`,
which matters for any of these choices. A list of sections stands as `*` in a path.
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
FieldKey = tuple[object, ...]

STUDENTS_OWN = {"stages.*.source": ("student_rollouts",)}
ESTIMATED = {"pool.estimate": ("before",)}
MATTERS: Mapping[str, Conditions] = {
    "networks.teacher.ema_rate": {"networks.teacher.weights": ("ema",)},
    "pool.refresh": ESTIMATED,
    "pool.refresh_every": {"pool.refresh": ("every",)},
    "pool.measure_snr": ESTIMATED,
    "pool.normalisation": ESTIMATED,
    "stages.*.rollouts.generate.per_problem": STUDENTS_OWN,
    "stages.*.rollouts.filter.kind": STUDENTS_OWN,
}
"""Settings that another setting decides about although they do not belong to one of its
alternatives.
"""


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
    """Every setting, in the order of the definition."""
    merged: dict[FieldKey, Setting] = {}
    for info in fields(root):
        found = Setting(info, {path: (value,) for path, value in info.when})
        known = merged.setdefault(_key(info), found)
        merged[_key(info)] = replace(known, conditions=_either(known.conditions, found.conditions))
    return tuple(replace(found, conditions=_all_conditions(found)) for found in merged.values())


@cache
def lists() -> tuple[str, ...]:
    """Paths of the lists of sections."""
    return tuple(
        dict.fromkeys(one.path.partition(".*.")[0] for one in settings() if ".*." in one.path)
    )


@cache
def numbered() -> re.Pattern[str]:
    """Matches the beginning of a name below a list: its path, and the place."""
    return re.compile(rf"({'|'.join(map(re.escape, lists()))})\.(\d{{1,4}})\.")


def list_of(path: str) -> str:
    """The list that a path with a `*` is below; empty for any other."""
    return path.partition(".*.")[0] if ".*." in path else ""


def at_place(path: str, place: int | str) -> str:
    """The name of a setting in one item of its list."""
    return path.replace("*", str(place), 1)


def _key(info: FieldInfo) -> FieldKey:
    """All that must be alike for two settings to be one field."""
    told = replace(info, when=())
    return (told.path, repr(told), frozenset(path for path, _ in info.when))


def _either(ours: Conditions, theirs: Conditions) -> Conditions:
    return {path: tuple(dict.fromkeys((*values, *theirs[path]))) for path, values in ours.items()}


def _all_conditions(found: Setting) -> Conditions:
    """The setting's own conditions, and what those settings depend on that it depends on."""
    conditions = dict(MATTERS.get(found.path, {})) | dict(found.conditions)
    for path in list(conditions):
        conditions = {**MATTERS.get(path, {}), **conditions}
    return conditions
