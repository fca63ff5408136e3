"""Runs grouped by a setting, with the mean and the 95 % interval of each figure in a group.

They are computed over all runs that the filter matches, so that they do not depend on the page, the
order or the other columns. The interval is Student's: mean ± t(0.975, n − 1) · s / √n over the n
runs of the group with a finite value of at most LARGEST, whose square the database can hold.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Avg, Count, F, FilteredRelation, Q, QuerySet, StdDev

from trainer.experiments.analysis import student_quantile
from webapp.access.actors import Actor
from webapp.pages.runs.finding.columns import Column, value_text
from webapp.pages.runs.finding.filter_language import Term
from webapp.pages.runs.finding.ordering import value_of
from webapp.runs.models import Run

MOST_GROUPS = 200
LARGEST = 1e150
# Number and text of a setting, of which one is None; both where runs have no value.
Value = tuple[float | None, str | None]


@dataclass(frozen=True)
class GroupFigure:
    """The mean of a figure over `n` runs, and the half width of its interval; None for one run."""

    n: int
    mean: float
    half_width: float | None


@dataclass(frozen=True)
class Group:
    """The runs with one value of the setting; `term` selects them."""

    text: str
    term: Term
    count: int
    figures: dict[str, GroupFigure] = field(default_factory=dict)


def groups(
    actor: Actor, runs: QuerySet[Run], key: str, columns: Sequence[Column]
) -> tuple[list[Group], bool]:
    """Return the groups by `key`, the largest first; True if there are more than MOST_GROUPS."""
    grouped = _by_value(actor, runs, key)
    counted = grouped.annotate(count=Count("pk")).order_by("-count", "number", "text")
    rows = list(counted[: MOST_GROUPS + 1])
    has_more = len(rows) > MOST_GROUPS
    shown = {(row["number"], row["text"]): _group(key, row) for row in rows[:MOST_GROUPS]}
    if has_more:
        grouped = grouped.filter(_is_one_of(shown))
    names = {column.sort: column.name for column in columns}
    for value, metric, figure in _figures(actor, grouped, list(names)):
        shown[value].figures[names[metric]] = figure
    return list(shown.values()), has_more


def _by_value(actor: Actor, runs: QuerySet[Run], key: str) -> Any:
    """Return the runs by number and text of `key`.

    Two relations, because each is read from an index of its own, without the rows.
    """
    return runs.annotate(
        numbered=value_of(actor, key, Q(values__number__isnull=False)),
        named=value_of(actor, key, Q(values__text__isnull=False)),
    ).values(number=F("numbered__number"), text=F("named__text"))


def _group(key: str, row: dict[str, Any]) -> Group:
    number, text, count = row["number"], row["text"], row["count"]
    if number is None and text is None:
        return Group("no value", Term(key, "has", ":", is_negated=True), count)
    term = Term(text if number is None else repr(number), key, "=")
    return Group(value_text(key, number, text), term, count)


def _figures(
    actor: Actor, grouped: Any, metrics: Sequence[str]
) -> Iterator[tuple[Value, str, GroupFigure]]:
    """Yield (value, metric, figure) of grouped runs; all metrics are read in one query."""
    if not metrics:
        return
    measured = FilteredRelation(
        "values", condition=Q(values__key__in=metrics, values__team=actor.team)
    )
    rows = (
        grouped.annotate(measured=measured)
        .filter(measured__number__gte=-LARGEST, measured__number__lte=LARGEST)
        .annotate(
            metric=F("measured__key"),
            n=Count("pk"),
            mean=Avg("measured__number"),
            deviation=StdDev("measured__number", sample=True),
        )
    )
    for row in rows.order_by():
        figure = GroupFigure(row["n"], row["mean"], _half_width(row["n"], row["deviation"]))
        yield (row["number"], row["text"]), row["metric"], figure


def _is_one_of(values: Collection[Value]) -> Q:
    condition = Q(number__in=[number for number, _ in values if number is not None])
    condition |= Q(text__in=[text for _, text in values if text is not None])
    return condition | Q(number=None, text=None) if (None, None) in values else condition


def _half_width(n: int, deviation: float | None) -> float | None:
    if n < 2 or deviation is None:
        return None
    return student_quantile(0.975, n - 1) * deviation / math.sqrt(n)
