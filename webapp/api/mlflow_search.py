"""The supported part of MLflow's search syntax: = and != of attributes, params, tags; AND."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.db.models import Q, QuerySet

from webapp.api.mlflow_types import STATUSES
from webapp.api.requests import ApiError
from webapp.runs.event_rows import storable
from webapp.runs.models import Run

CONDITION = re.compile(
    r"""\s*(?:(?P<kind>attributes?|attr|runs?|params?|parameters?|tags?)\.)?"""
    r"""(?P<key>[\w.\-/]+|`[^`]+`|"[^"]+")"""
    r"""\s*(?P<sign>!=|=)\s*(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)")\s*"""
)
JOINT = re.compile(r"and(?=\s)", re.I)
ORDER = re.compile(
    r"""\s*(?:attributes?\.)?`?(start_time|end_time|run_name)`?(?:\s+(asc|desc))?\s*""", re.I
)
ATTRIBUTES = {"run_id": "public_id", "run_name": "name", "status": "state"}
ORDERED = {"start_time": "started_at", "end_time": "finished_at", "run_name": "name"}
# Each condition makes Postgres search the parameters or tags of all runs, so their number is
# bounded.
LONGEST_FILTER, MOST_CONDITIONS, MOST_ORDERS = 5000, 50, 10
UNDERSTOOD = (
    "Understood are status, run_id, run_name, params.<name> and tags.<name>, compared by = or "
    "!= with a quoted text, joined by AND."
)


def matching(runs: QuerySet[Run], filter: str, order_by: list[str]) -> QuerySet[Run]:
    """The runs that `filter` selects, ordered. Raises ApiError for unsupported syntax."""
    if len(filter) > LONGEST_FILTER or len(order_by) > MOST_ORDERS:
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            f"A filter has at most {LONGEST_FILTER:,} characters, an order {MOST_ORDERS} parts.",
        )
    for index, condition in enumerate(_conditions(filter) if filter.strip() else ()):
        if index == MOST_CONDITIONS:
            raise ApiError(
                400,
                "INVALID_PARAMETER_VALUE",
                f"A filter has at most {MOST_CONDITIONS} conditions.",
            )
        runs = runs.filter(condition)
    return runs.order_by(*(_order(text) for text in order_by), "-pk")


def _conditions(text: str) -> Iterator[Q]:
    """Split the filter at AND, but not inside quotes."""
    position = 0
    while True:
        match = CONDITION.match(text, position)
        if match is None:
            raise ApiError(
                400,
                "INVALID_PARAMETER_VALUE",
                f"The filter {text[position : position + 200]!r} is not understood. {UNDERSTOOD}",
            )
        # Three letters tell the kinds apart: par, tag, and the names of attributes (att, run).
        key, kind = storable(match["key"].strip('`"')), (match["kind"] or "attribute")[:3]
        value = storable(match["single"] if match["single"] is not None else match["double"])
        condition = Q(**_lookup(kind, key, value))
        yield ~condition if match["sign"] == "!=" else condition
        if match.end() == len(text):
            return
        # A condition takes the spaces behind it, so the character before AND tells whether one is.
        joint = JOINT.match(text, match.end())
        if joint is None or not text[match.end() - 1].isspace():
            raise ApiError(
                400,
                "INVALID_PARAMETER_VALUE",
                f"The filter {text[match.start() :][:200]!r} is not understood. {UNDERSTOOD}",
            )
        position = joint.end()


def _lookup(kind: str, key: str, value: str) -> dict[str, object]:
    if kind in ("par", "tag"):
        return {f"origin__{'params' if kind == 'par' else 'tags'}__contains": {key: value}}
    if key not in ATTRIBUTES:
        raise ApiError(
            400, "INVALID_PARAMETER_VALUE", f"Runs are not filtered by {key[:60]!r}. {UNDERSTOOD}"
        )
    return {ATTRIBUTES[key]: STATUSES.get(value, value) if key == "status" else value}


def _order(text: str) -> str:
    match = ORDER.fullmatch(text)
    if match is None:
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            f"Runs are ordered by {', '.join(ORDERED)}, not by {text[:60]!r}.",
        )
    return ("-" if (match[2] or "").lower() == "desc" else "") + ORDERED[match[1].lower()]
