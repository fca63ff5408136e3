"""The values behind the charts: JSON for the browser, CSV and Parquet for other programs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any, get_args

import orjson
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotModified,
    JsonResponse,
    StreamingHttpResponse,
)
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.base import csv_text
from webapp.base.read_snapshot import snapshot
from webapp.pages.attachments import attachment
from webapp.pages.panels import evaluations
from webapp.pages.query_numbers import bigint
from webapp.pages.runs.run_page import requested_run
from webapp.runs import branches
from webapp.runs.models import Run
from webapp.series import series_store

# Buckets a series is reduced to if the request names no width, and the most it may ask for.
DEFAULT_WIDTH = 1000
MAX_WIDTH = 5000
MAX_KEYS = 200
# Rows of the CSV file that are read and sent together.
ROWS_PER_CHUNK = 2000
HEADER = ("attempt", "step", "key", "value", "tokens", "compute", "wall_time")


class BadSeriesQuery(Exception):
    """The query string has a value that cannot be used; the message says which."""


@permissions.shown_to_guests
@require_safe
def series_json(request: HttpRequest, run_id: str) -> HttpResponseBase:
    """Return {cursor, axis, series, marks, bases}; the live connection continues from `cursor`.

    Answers 400 with a message if the query string cannot be used.
    """
    try:
        axis, width = _axis(request), _width(request)
        start, stop = _number(request, "from"), _number(request, "to")
    except BadSeriesQuery as error:
        return JsonResponse({"message": str(error)}, status=400)
    # In one snapshot: cursor and series must be of the same moment.
    with snapshot():
        run = requested_run(request, run_id)
        tag = series_store.etag([run], request.GET.urlencode())
        if request.headers.get("If-None-Match") == tag:
            return HttpResponseNotModified(headers={"ETag": tag})
        all_series = series_store.read(
            [run], _keys(request), axis=axis, start=start, stop=stop, width=width
        )
        answer = {
            "cursor": run.batch_count,
            "axis": axis,
            "series": [series.json() for series in all_series],
            "marks": marks(run, axis),
            "bases": evaluations.bases(run, axis),
        }
    return HttpResponse(
        orjson.dumps(answer),
        content_type="application/json",
        headers={"ETag": tag, "Cache-Control": "private, no-cache"},
    )


@permissions.shown_to_guests
@require_safe
def series_csv(request: HttpRequest, run_id: str) -> StreamingHttpResponse:
    """Stream every point on the live branch, one per line.

    With `abandoned=1` the points of abandoned branches are included.
    """
    run = requested_run(request, run_id)
    rows = series_store.export_rows(run, _keys(request), _abandoned(request))
    return attachment(_csv_chunks(rows), f"{run.public_id}.csv", "text/csv; charset=utf-8")


@permissions.shown_to_guests
@require_safe
def series_parquet(request: HttpRequest, run_id: str) -> StreamingHttpResponse:
    """Stream the same rows as a Parquet file."""
    run = requested_run(request, run_id)
    chunks = series_store.export_parquet(run, _keys(request), _abandoned(request))
    return attachment(chunks, f"{run.public_id}.parquet", "application/vnd.apache.parquet")


def marks(run: Run, axis: series_store.Axis) -> list[dict[str, Any]]:
    """Return stage switches, checkpoints and restarts with their positions on `axis`.

    A mark whose step has no position on the axis is left out.
    """
    step_marks: list[tuple[int, str, str]] = []
    step = 0
    for stage in (run.spec or {}).get("stages", []):
        step_marks.append((step, "stage", stage["name"]))
        step += stage["until"]["steps"]
    for kind, attempt, step in branches.rewinds_and_checkpoints(run):
        # The log of a resumed attempt begins with a rewind.
        step_marks.append(
            (step, "restart", f"attempt {attempt}") if kind == "rewind" else (step, kind, kind)
        )
    step_marks.sort()
    positions = {step: float(step) for step, _, _ in step_marks}
    if axis != "step":
        # Tokens, time and compute are recorded with each loss.
        positions = {0: 0.0, **series_store.axis_positions(run, "loss", axis, positions)}
    return [
        {"x": positions[step], "kind": kind, "label": label}
        for step, kind, label in step_marks
        if step in positions
    ]


def _csv_chunks(rows: Iterator[tuple[Any, ...]]) -> Iterator[str]:
    chunk: list[tuple[Any, ...]] = [HEADER]
    while chunk:
        yield csv_text.text_of(chunk)
        chunk = list(islice(rows, ROWS_PER_CHUNK))


def _keys(request: HttpRequest) -> list[str] | None:
    """Return the requested keys, at most MAX_KEYS; None for all.

    `key=` names one key, which may contain commas; `keys=` names several, separated by commas.
    """
    names = [*request.GET.getlist("key"), *request.GET.get("keys", "").split(",")]
    # Postgres does not accept NUL characters in a query.
    return [key for name in names if (key := name.replace("\0", ""))][:MAX_KEYS] or None


def _abandoned(request: HttpRequest) -> bool:
    return request.GET.get("abandoned") == "1"


def _axis(request: HttpRequest) -> series_store.Axis:
    axis = request.GET.get("axis", "step")
    if axis not in get_args(series_store.Axis):
        raise BadSeriesQuery(f"axis must be one of {', '.join(get_args(series_store.Axis))}")
    return axis  # type: ignore[return-value]


def _number(request: HttpRequest, name: str) -> float | None:
    text = request.GET.get(name)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadSeriesQuery(f"{name} must be a number")
    return number


def _width(request: HttpRequest) -> int:
    text = request.GET.get("width", str(DEFAULT_WIDTH))
    width = bigint(text) if len(text) < 7 else None
    if not width:
        raise BadSeriesQuery("width must be a whole number above 0")
    return min(width, MAX_WIDTH)
