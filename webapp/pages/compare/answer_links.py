"""Links to the page of answers beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from django.urls import reverse
from django.utils.http import urlencode

from webapp.comparisons.answer_sources import MOST_COLUMNS, ChosenColumn, Kind
from webapp.comparisons.results import ROLES, ProblemResults
from webapp.comparisons.statements import ComparedItem
from webapp.runs.models import Evaluation

# Links of a comparison: more of them are no help.
MOST_LINKS = 12


def address(columns: Sequence[ChosenColumn], problem: str = "") -> str:
    """Return the address that shows these columns, for a problem of the first one."""
    pairs: list[tuple[str, str]] = []
    for column in columns:
        step = "" if column.step is None else str(column.step)
        pairs += [("run", column.run), ("kind", column.kind), ("step", step)]
    if problem:
        pairs.append(("problem", problem))
    return f"{reverse('side_by_side')}?{urlencode(pairs)}"


def kind_of_evaluation(evaluation: Evaluation) -> Kind:
    """Return the kind of column that shows an evaluation."""
    if evaluation.job:
        return "job"
    return "retained" if evaluation.role == "retained" else "evaluation"


def links_of_comparison(
    items: Sequence[ComparedItem], baseline: ComparedItem, metric: str
) -> list[tuple[str, str]]:
    """Return (name, address) of the answers of each item beside those of the baseline.

    Of a group its first run. None for a metric without results by problem.
    """
    columns = {item.id: column for item in items if (column := _column_of(item, metric))}
    first = columns.get(baseline.id)
    if metric not in ROLES or first is None:
        return []
    others = [item for item in items if item.id in columns and item.id != baseline.id]
    links = [
        (f"{item.name} and {baseline.name}", address([first, columns[item.id]]))
        for item in others[:MOST_LINKS]
    ]
    if 1 < len(others) < MOST_COLUMNS:
        links.append(("all together", address([first, *(columns[item.id] for item in others)])))
    return links


def _column_of(item: ComparedItem, metric: str) -> ChosenColumn | None:
    result = item.results[0]
    found: ProblemResults | None = result.by_problem.get(metric)
    if found is None:
        return None
    evaluation = found.evaluation
    return ChosenColumn(result.run.public_id, kind_of_evaluation(evaluation), evaluation.step)
