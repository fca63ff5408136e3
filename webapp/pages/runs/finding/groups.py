"""Runs grouped by a setting, with the mean and the 95 % interval of each figure in a group.

They are computed over all runs that the filter matches, so that they do not depend on the page, the
order or the other columns. The interval is Student's: mean ± t(0.975, n − 1) · s / √n over the n
runs of the group with a finite value of at most LARGEST, whose square the database can hold. Beyond
MANY_DEGREES of freedom the quantile is that of MANY_DEGREES, which is at most 0.2 % larger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Avg, Count, F, Q, QuerySet, StdDev

from trainer.experiments.analysis import MANY_DEGREES, student_quantile
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
    figures: dict[str, GroupFigure]


def groups(
    actor: Actor, runs: QuerySet[Run], key: str, columns: Sequence[Column]
) -> tuple[list[Group], bool]:
    """Return the groups by `key`, the largest first; True if there are more than MOST_GROUPS."""
    grouped = _by_value(actor, runs, key).annotate(count=Count("pk"))
    # Two columns may show one figure.
    metrics = list(dict.fromkeys(column.sort for column in columns))
    for index, metric in enumerate(metrics):
        grouped = _with_figure(actor, grouped, index, metric)
    rows = list(grouped.order_by("-count", "number", "text")[: MOST_GROUPS + 1])
    names = [(column.name, metrics.index(column.sort)) for column in columns]
    return [_group(key, row, names) for row in rows[:MOST_GROUPS]], len(rows) > MOST_GROUPS


def _by_value(actor: Actor, runs: QuerySet[Run], key: str) -> Any:
    """Return the runs by number and text of `key`.

    Two relations, because each is read from an index of its own, without the rows.
    """
    return runs.annotate(
        numbered=value_of(actor, key, Q(values__number__isnull=False)),
        named=value_of(actor, key, Q(values__text__isnull=False)),
    ).values(number=F("numbered__number"), text=F("named__text"))


def _with_figure(actor: Actor, grouped: Any, index: int, metric: str) -> Any:
    """Return the groups with `n`, `mean` and `deviation` of a metric, named by its index.

    Each metric is a relation of its own, so that each run is one row until it is counted: rows of
    runs and metrics take several times as long to join and to group.
    """
    limits = Q(values__number__gte=-LARGEST, values__number__lte=LARGEST)
    number = f"measured_{index}__number"
    return grouped.annotate(
        **{f"measured_{index}": value_of(actor, metric, limits)},
    ).annotate(
        **{
            f"n_{index}": Count(number),
            f"mean_{index}": Avg(number),
            f"deviation_{index}": StdDev(number, sample=True),
        }
    )


def _group(key: str, row: dict[str, Any], names: Sequence[tuple[str, int]]) -> Group:
    """Return a group; `names` are those of its figures, with the index of their metric."""
    number, text, count = row["number"], row["text"], row["count"]
    figures = {name: _figure(row, index) for name, index in names if row[f"n_{index}"]}
    if number is None and text is None:
        return Group("no value", Term(key, "has", ":", is_negated=True), count, figures)
    term = Term(text if number is None else repr(number), key, "=")
    return Group(value_text(key, number, text), term, count, figures)


def _figure(row: dict[str, Any], index: int) -> GroupFigure:
    n, deviation = row[f"n_{index}"], row[f"deviation_{index}"]
    return GroupFigure(n, row[f"mean_{index}"], _half_width(n, deviation))


def _half_width(n: int, deviation: float | None) -> float | None:
    if n < 2 or deviation is None:
        return None
    # The quantile is computed by a series of as many terms as there are degrees of freedom.
    degrees = min(n - 1, MANY_DEGREES)
    return student_quantile(0.975, degrees) * deviation / math.sqrt(n)
