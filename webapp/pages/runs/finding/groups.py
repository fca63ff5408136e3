"""Runs grouped by a setting, with the mean and the 95 % interval of each figure in a group.

They are computed over all runs that the filter matches, so that they do not depend on the page, the
order or the other columns. The interval is Student's: mean ± t(0.975, n − 1) · s / √n over the n
runs of the group with a finite value of at most LARGEST, whose square the database can hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Avg, Count, F, QuerySet, StdDev

from trainer.experiments.analysis import student_quantile
from webapp.access.actors import Actor
from webapp.pages.runs.finding.columns import Column, value_text
from webapp.pages.runs.finding.filter_language import Term
from webapp.pages.runs.finding.ordering import value_of
from webapp.runs.models import Run

MOST_GROUPS = 200
LARGEST = 1e150


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
    grouped = (
        _by_value(actor, runs, key).annotate(count=Count("pk")).order_by("-count", "number", "text")
    )
    rows = list(grouped[: MOST_GROUPS + 1])
    groups_by_value = {(row["number"], row["text"]): _group(key, row) for row in rows[:MOST_GROUPS]}
    for column in columns:
        for value, figure in _figures(actor, runs, key, column.sort):
            if value in groups_by_value:
                groups_by_value[value].figures[column.name] = figure
    return list(groups_by_value.values()), len(rows) > MOST_GROUPS


def _by_value(actor: Actor, runs: QuerySet[Run], key: str) -> Any:
    return runs.annotate(setting=value_of(actor, key)).values(
        number=F("setting__number"), text=F("setting__text")
    )


def _group(key: str, row: dict[str, Any]) -> Group:
    number, text, count = row["number"], row["text"], row["count"]
    if number is None and text is None:
        return Group("no value", Term(key, "has", ":", is_negated=True), count)
    term = Term(text if number is None else repr(number), key, "=")
    return Group(value_text(key, number, text), term, count)


def _figures(
    actor: Actor, runs: QuerySet[Run], key: str, metric: str
) -> list[tuple[tuple[float | None, str | None], GroupFigure]]:
    measured = runs.annotate(measured=value_of(actor, metric)).filter(
        measured__number__gte=-LARGEST, measured__number__lte=LARGEST
    )
    rows = _by_value(actor, measured, key).annotate(
        n=Count("pk"),
        mean=Avg("measured__number"),
        deviation=StdDev("measured__number", sample=True),
    )
    return [
        (
            (row["number"], row["text"]),
            GroupFigure(row["n"], row["mean"], _half_width(row["n"], row["deviation"])),
        )
        for row in rows.order_by()
    ]


def _half_width(n: int, deviation: float | None) -> float | None:
    if n < 2 or deviation is None:
        return None
    return student_quantile(0.975, n - 1) * deviation / math.sqrt(n)
