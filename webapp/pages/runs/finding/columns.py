"""The columns of the list of runs: those of its own, and any figure or setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webapp.access import permissions
from webapp.access.actors import Actor
from webapp.base.number_text import grouped, plain
from webapp.runs.better import better
from webapp.runs.models import RunValue

MOST_COLUMNS = 20
LONGEST_NAME = 130


@dataclass(frozen=True)
class Column:
    """A column of the table; `sort` is the name to sort by, empty if its rows have no order.

    `is_value`: it shows a figure or a setting as it is stored.
    """

    name: str
    title: str
    sort: str
    is_number: bool = False
    is_value: bool = False
    note: str = ""

    @property
    def help(self) -> str:
        """What the column shows, and which way is better."""
        direction = better(self.name.removesuffix(".best")) if self.is_value else None
        return f"{self.title}, {direction} is better" if direction else self.note or self.title


OWN_COLUMNS = {
    column.name: column
    for column in (
        Column("state", "State", "state"),
        Column("progress", "Progress", "step"),
        Column("models", "Student ← teacher", "student"),
        Column("pass_rate", "Pass rate", "pass_rate", is_number=True),
        Column("difference", "vs. base", "difference", is_number=True),
        Column("sparkline", "Over time", "", note="↑ ↓: the better direction"),
        Column("owner", "Owner", "owner"),
        Column("created", "Created", "created"),
    )
}


def chosen_columns(names: Iterable[str]) -> list[Column]:
    """Return the columns of these names, each once and at most MOST_COLUMNS; without any, all own.

    Names of figures and settings need not exist.
    """
    distinct = [name for name in dict.fromkeys(name.strip() for name in names) if name]
    columns = [
        OWN_COLUMNS.get(name) or Column(name, name, name, is_number=True, is_value=True)
        for name in distinct[:MOST_COLUMNS]
        if len(name) <= LONGEST_NAME
    ]
    return columns or list(OWN_COLUMNS.values())


def cell_texts(
    actor: Actor, runs: Sequence[int], columns: Iterable[Column]
) -> Mapping[int, Mapping[str, str]]:
    """Return the texts of the value columns by run and key; runs without a value lack the key."""
    keys = [column.name for column in columns if column.is_value]
    texts: dict[int, dict[str, str]] = {run: {} for run in runs}
    if keys:
        values = permissions.visible(actor, RunValue).filter(run__in=runs, key__in=keys)
        for run, key, number, text in values.values_list("run_id", "key", "number", "text"):
            texts[run][key] = value_text(key, number, text)
    return texts


def value_text(key: str, number: float | None, text: str | None) -> str:
    """Return a stored value as pages show it: steps are whole numbers."""
    if number is None:
        return text or ""
    is_count = number.is_integer() and abs(number) < 1e15
    return grouped(int(number)) if is_count else plain(number)


def sorts_of(columns: Sequence[Column]) -> list[tuple[str, str]]:
    """Return (value, label) of every way to sort by the columns and by name."""
    labels: dict[str, Any] = {"created": ("oldest first", "newest first"), "name": ("A–Z", "Z–A")}
    sorts = [("Name", "name"), *((column.title, column.sort) for column in columns if column.sort)]
    return [
        (f"{minus}{sort}", f"{title}, {labels.get(sort, ('up', 'down'))[bool(minus)]}")
        for title, sort in dict.fromkeys(sorts)
        for minus in ("-", "")
    ]
