"""Pages of runs in an order, each beginning behind the last run of the one before.

A page is found by key, never by a number of rows: its cost does not grow with its place, and a run
that is created while somebody reads moves no run to another page. Runs with a number come first,
then those with a text (NaN among them), then those without a value, whichever the direction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from django.db.models import Exists, F, FilteredRelation, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import Coalesce, NullIf

from webapp.access import permissions
from webapp.access.actors import Actor
from webapp.pages.query_numbers import bigint
from webapp.runs.models import Run, RunValue

Phase = Literal["number", "text", "missing"]
OWNER = Coalesce(NullIf("owner__name", Value("")), "owner__email", output_field=TextField())
NOTHING = Value(None, output_field=TextField())
# Columns of runs that are sorted by; every other name is that of a figure or setting.
RUN_COLUMNS = {"name": F("name"), "state": F("state"), "owner": OWNER}


@dataclass(frozen=True)
class Sort:
    """A name to sort by; `created` is the order of creation, in which no run has a value."""

    name: str = "created"
    is_descending: bool = True

    def __str__(self) -> str:
        return f"-{self.name}" if self.is_descending else self.name


@dataclass(frozen=True)
class Cursor:
    """The last run of a page: its part of the order, primary key and value."""

    phase: Phase
    pk: int
    value: float | str | None = None

    def __str__(self) -> str:
        value = self.value.hex() if isinstance(self.value, float) else self.value or ""
        return f"{self.phase}.{self.pk}.{value}"


def sort_of(text: str) -> Sort:
    """Return the sort of an address; the newest runs come first where it names none."""
    name = text.removeprefix("-").strip()
    return Sort(name, text.startswith("-")) if name else Sort()


def cursor_of(text: str) -> Cursor | None:
    """Return the cursor of an address; None if it is none."""
    phase, _, rest = text.partition(".")
    key, _, value = rest.partition(".")
    pk = bigint(key)
    if pk is None or phase not in ("number", "text", "missing"):
        return None
    if phase == "text":
        return Cursor("text", pk, value)
    if phase == "missing":
        return Cursor("missing", pk)
    try:
        return Cursor("number", pk, float.fromhex(value))
    except (ValueError, OverflowError):
        return None


def page(
    actor: Actor, runs: QuerySet[Run], sort: Sort, after: Cursor | None, size: int
) -> tuple[list[int], Cursor | None]:
    """Return primary keys of at most `size` runs behind `after`, and the cursor of the next page.

    The cursor is None if there is no next page.
    """
    cursors: list[Cursor] = []
    for phase, rows in _phases(actor, runs, sort, after):
        # One row more than the page shows tells whether there is a next page.
        cursors += [Cursor(phase, pk, value) for pk, value in rows[: size + 1 - len(cursors)]]
        if len(cursors) > size:
            return [cursor.pk for cursor in cursors[:size]], cursors[size - 1]
    return [cursor.pk for cursor in cursors], None


def value_of(actor: Actor, key: str, condition: Q | None = None) -> FilteredRelation:
    """Return the relation from a run of the actor's team to its value under `key`.

    `condition` is on the value, which is called `values`.
    """
    # The team is that of the run; named because the indexes of values begin with it.
    own = Q(values__key=key, values__team=actor.team)
    return FilteredRelation("values", condition=own & (condition or Q()))


def without_value(actor: Actor, runs: QuerySet[Run], key: str) -> QuerySet[Run]:
    """Return those of the runs of the actor's team that have no value under `key`."""
    numbers, texts = (values.filter(run=OuterRef("pk")) for values in numbers_and_texts(actor, key))
    return runs.filter(~Exists(numbers)).filter(~Exists(texts))


def numbers_and_texts(actor: Actor, key: str) -> tuple[QuerySet[RunValue], QuerySet[RunValue]]:
    """Return the values under `key` of the actor's team that are numbers, and those that are texts.

    Each is in an index of its own; without that condition Postgres reads every run's rows.
    """
    values = permissions.visible(actor, RunValue).filter(team=actor.team, key=key)
    return values.filter(number__isnull=False), values.filter(text__isnull=False)


def _phases(
    actor: Actor, runs: QuerySet[Run], sort: Sort, after: Cursor | None
) -> Iterator[tuple[Phase, QuerySet[Run, tuple[int, Any]]]]:
    """Yield the parts of the order from that of `after` on, without what is before it."""
    parts = dict(_parts(actor, runs, sort))
    remaining = list(parts)
    if after is not None and after.phase in parts:
        remaining = remaining[remaining.index(after.phase) :]
    for phase in remaining:
        # The newest of the runs without a value come first; these have only their key to compare.
        is_by_key = phase == "missing"
        descending = sort.is_descending or (is_by_key and sort.name != "created")
        minus, comparison = ("-", "lt") if descending else ("", "gt")
        part = parts[phase]
        if after is not None and after.phase == phase:
            beyond = Q(**{f"pk__{comparison}": after.pk})
            if not is_by_key:
                # The first condition is what an index on the value is read by.
                beyond = Q(**{f"sorted__{comparison}e": after.value}) & (
                    Q(**{f"sorted__{comparison}": after.value}) | beyond
                )
            part = part.filter(beyond)
        order = [f"{minus}pk"] if is_by_key else [f"{minus}sorted", f"{minus}pk"]
        yield phase, part.order_by(*order).values_list("pk", "sorted")


def _parts(actor: Actor, runs: QuerySet[Run], sort: Sort) -> Iterator[tuple[Phase, Any]]:
    if sort.name == "created":
        yield "missing", runs.annotate(sorted=NOTHING)
        return
    if sort.name in RUN_COLUMNS:
        valued = runs.annotate(sorted=RUN_COLUMNS[sort.name])
        yield "text", valued.filter(sorted__isnull=False)
        yield "missing", valued.filter(sorted__isnull=True)
        return
    with_value = runs.annotate(value=value_of(actor, sort.name))
    yield (
        "number",
        with_value.filter(value__number__isnull=False).annotate(sorted=F("value__number")),
    )
    yield "text", with_value.filter(value__text__isnull=False).annotate(sorted=F("value__text"))
    yield "missing", without_value(actor, runs, sort.name).annotate(sorted=NOTHING)
