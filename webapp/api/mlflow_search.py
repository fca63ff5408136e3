"""Runs and experiments that MLflow's clients search for.

Postgres compares attributes, parameters, tags and data sets. The last values of metrics are packed
in the series store: they are read for the runs that are left then, of the asked metrics alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from django.db.models import (
    BooleanField,
    Case,
    CharField,
    Expression,
    F,
    FloatField,
    Func,
    OrderBy,
    QuerySet,
    TextField,
    Value,
    When,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Coalesce, Collate, Concat, NullIf

from webapp.api.mlflow_filter import Condition, Field, Language, Order
from webapp.api.mlflow_types import FILES, STATUS_OF, USER_TAG
from webapp.api.requests import ApiError
from webapp.clients.client_batch import key
from webapp.clients.models import Project
from webapp.clients.runs import NAME_TAG
from webapp.runs.models import Run
from webapp.series import series_store

# Runs whose metrics are read at once; their packed values are in memory together.
READ_AT_ONCE = 200
# Of more runs than this no metrics are read for one search.
MOST_READ = 10_000


# The primary key of a run, and its values in the order of the `orders`.
Row = tuple[int, tuple[Any, ...]]


def _text_at(column: str, name: str) -> Func:
    """The text under `name` in a JSON column, NULL if there is none."""
    # Not Django's KeyTextTransform: it takes a name such as "0" for an index.
    return Func(
        F(column), Value(name), function="jsonb_extract_path_text", output_field=TextField()
    )


def _milliseconds(column: str) -> Func:
    return Func(
        F(column),
        template="floor(extract(epoch from %(expressions)s) * 1000)",
        output_field=FloatField(),
    )


RUN_NAME = Coalesce(NullIf(F("origin__name"), Value("")), F("name"))
RUN_ATTRIBUTES: dict[str, Expression | F] = {
    "run_id": F("public_id"),
    "run_name": RUN_NAME,
    "status": Case(
        *(When(state=state, then=Value(status)) for state, status in STATUS_OF.items()),
        default=Value("RUNNING"),
        output_field=CharField(),
    ),
    "user_id": Coalesce(
        NullIf(_text_at("origin__tags", USER_TAG), Value("")),
        NullIf(F("owner__name"), Value("")),
        F("owner__email"),
        Value(""),
        output_field=TextField(),
    ),
    "artifact_uri": Concat(
        Value(f"{FILES}/"),
        Cast("origin__project_id", TextField()),
        Value("/"),
        F("public_id"),
        Value("/artifacts"),
        output_field=TextField(),
    ),
    "start_time": _milliseconds("started_at"),
    "end_time": _milliseconds("finished_at"),
}
EXPERIMENT_ATTRIBUTES: dict[str, Expression | F] = {
    "name": F("name"),
    "experiment_id": Cast("pk", TextField()),
    "creation_time": _milliseconds("created_at"),
}
RUNS = Language(
    "runs",
    numbers=("start_time", "end_time"),
    texts=("run_id", "run_name", "status", "user_id", "artifact_uri"),
    kinds=("attribute", "metric", "param", "tag", "dataset"),
)
EXPERIMENTS = Language(
    "experiments",
    numbers=("creation_time",),
    texts=("name", "experiment_id"),
    kinds=("attribute", "tag"),
)


def find_runs(
    runs: QuerySet[Run], filter: str, order_by: Sequence[str], first: int, count: int
) -> list[Run]:
    """At most `count` of the runs that `filter` selects, from number `first` in that order on.

    Runs without a value come last, before them NaN. What compares as equal is in order of start
    time, the newest first. Raises ApiError for a filter or an order that is not understood.
    """
    conditions, orders = RUNS.conditions(filter), RUNS.orders(order_by)
    metrics = [condition for condition in conditions if condition.field.kind == "metric"]
    for condition in conditions:
        if condition.field.kind != "metric":
            runs = runs.filter(_comparison(condition, _run_field))
    by_metric = any(order.field.kind == "metric" for order in orders)
    natural = [F("started_at").desc(nulls_last=True), F("pk").desc()]
    if not metrics and not by_metric:
        sorted_runs = runs.order_by(*(_ordering(order, _run_field) for order in orders), *natural)
        return list(sorted_runs[first : first + count])
    rows: Iterator[Row]
    if by_metric:
        rows = iter(in_order(list(_measured(runs.order_by(*natural), metrics, orders)), orders))
    else:
        rows = _measured(
            runs.order_by(*(_ordering(order, _run_field) for order in orders), *natural),
            metrics,
            [],
        )
    page = [run for run, _ in islice(rows, first, first + count)]
    by_pk = runs.in_bulk(page)
    # A run may have been deleted since its metrics were read.
    return [by_pk[run] for run in page if run in by_pk]


def find_experiments(
    projects: QuerySet[Project], filter: str, order_by: Sequence[str], first: int, count: int
) -> list[Project]:
    """As `find_runs`; what compares as equal is in order of creation, the newest first."""
    for condition in EXPERIMENTS.conditions(filter):
        projects = projects.filter(_comparison(condition, _experiment_field))
    orders = [_ordering(order, _experiment_field) for order in EXPERIMENTS.orders(order_by)]
    return list(projects.order_by(*orders, F("pk").desc())[first : first + count])


def _measured(
    runs: QuerySet[Run], conditions: Sequence[Condition], orders: Sequence[Order]
) -> Iterator[Row]:
    """Yield the runs whose metrics fulfil the conditions, in the order of `runs`.

    Raises ApiError if there are too many runs.
    """
    columns = {
        f"order_{index}": _run_field(order.field)
        for index, order in enumerate(orders)
        if order.field.kind != "metric"
    }
    rows = list(runs.annotate(**columns).values("pk", *columns)[: MOST_READ + 1])
    if len(rows) > MOST_READ:
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            f"Metrics are compared of at most {MOST_READ:,} runs, and this filter leaves more. Add "
            "a condition on a parameter, a tag or start_time.",
        )
    fields = [*(condition.field for condition in conditions), *(order.field for order in orders)]
    names = sorted({key(field.name) for field in fields if field.kind == "metric"})
    for start in range(0, len(rows), READ_AT_ONCE):
        some = rows[start : start + READ_AT_ONCE]
        points = series_store.last_points([Run(pk=row["pk"]) for row in some], names)
        for row in some:
            values = {name: point.value for name, point in points[row["pk"]].items()}
            if all(
                condition.holds(values.get(key(condition.field.name))) for condition in conditions
            ):
                yield (
                    row["pk"],
                    tuple(
                        values.get(key(order.field.name))
                        if order.field.kind == "metric"
                        else row[f"order_{index}"]
                        for index, order in enumerate(orders)
                    ),
                )


def in_order(rows: list[Row], orders: Sequence[Order]) -> list[Row]:
    """Sort rows by their values; NaN comes behind every number, and no value behind both."""
    # Sorting keeps the order of equal rows, so that the last order is applied first.
    for index, order in reversed(list(enumerate(orders))):
        present: list[Row] = []
        nans: list[Row] = []
        missing: list[Row] = []
        for row in rows:
            value = row[1][index]
            if value is None:
                missing.append(row)
            elif isinstance(value, float) and math.isnan(value):
                nans.append(row)
            else:
                present.append(row)
        present.sort(key=lambda row: row[1][index], reverse=order.is_descending)
        rows = [*present, *nans, *missing]
    return rows


def _run_field(field: Field) -> Expression | F:
    if field.kind == "attribute":
        return RUN_ATTRIBUTES[field.name]
    # A run is renamed by other ways than by its tag too.
    if field == Field("tag", NAME_TAG):
        return RUN_NAME
    return _text_at("origin__params" if field.kind == "param" else "origin__tags", field.name)


def _experiment_field(field: Field) -> Expression | F:
    if field.kind == "attribute":
        return EXPERIMENT_ATTRIBUTES[field.name]
    return _text_at("tags", field.name)


def _comparison(condition: Condition, expression: Any) -> Any:
    """The condition for Postgres. A field without a value fulfils none but IS NULL."""
    if condition.field.kind == "dataset":
        # True of a run if it is of one of its data sets.
        return Func(
            F("origin__inputs"),
            _compared(RawSQL("item ->> %s", [condition.field.name]), condition),
            template="EXISTS (SELECT 1 FROM jsonb_array_elements(%(expressions)s)",
            arg_joiner=") AS item WHERE ",
            output_field=BooleanField(),
        )
    return _compared(expression(condition.field), condition)


def _compared(left: Expression | F, condition: Condition) -> Func:
    sign, value = condition.sign, condition.value
    if value is None:
        return Func(left, template=f"(%(expressions)s {sign})", output_field=BooleanField())
    right: Expression = Value(value)
    if isinstance(value, tuple):
        right = Func(*map(Value, value), template="(%(expressions)s)", output_field=TextField())
    # Without an escape character, as in MLflow: a backslash stands for itself.
    end = " ESCAPE ''" if sign in ("LIKE", "ILIKE") else ""
    return Func(
        left,
        right,
        template=f"(%(expressions)s{end})",
        arg_joiner=f" {sign} ",
        output_field=BooleanField(),
    )


def _ordering(order: Order, expression: Any) -> OrderBy:
    ordered = expression(order.field)
    # By code points, as Python sorts text, whatever the database was made for.
    is_number = order.field.kind == "attribute" and order.field.name in (
        *RUNS.numbers,
        *EXPERIMENTS.numbers,
    )
    ordered = ordered if is_number else Collate(ordered, "C")
    return OrderBy(ordered, descending=order.is_descending, nulls_last=True)
