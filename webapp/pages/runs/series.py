"""The numbers behind the charts: as JSON for the browser, as CSV and Parquet for everybody else."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any, get_args

import orjson
from asgiref.sync import sync_to_async
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotModified,
    JsonResponse,
    StreamingHttpResponse,
)
from django.views.decorators.http import require_safe

from webapp.access import access
from webapp.base.snapshot import snapshot
from webapp.pages.runs.run_page import requested_run
from webapp.runs import branches
from webapp.runs.models import Run
from webapp.series import series_store

WIDTH = 1000
WIDEST = 5000
MOST_KEYS = 200
ROWS_AT_ONCE = 2000
HEADER = ("attempt", "step", "key", "value", "tokens", "compute", "wall_time")


class Question(Exception):
    """The query cannot be understood; the message says which part."""


@access.shown_to_guests
@require_safe
def series_json(request: HttpRequest, run_id: str) -> HttpResponseBase:
    """{cursor, axis, series, marks}: everything up to `cursor`, from which the live connection
    continues.
    """
    try:
        axis, start, stop, width = (
            _axis(request),
            _number(request, "from"),
            _number(request, "to"),
            _width(request),
        )
    except Question as error:
        return JsonResponse({"message": str(error)}, status=400)
    with snapshot():
        run = requested_run(request, run_id)
        tag = series_store.etag([run], request.GET.urlencode())
        if request.headers.get("If-None-Match") == tag:
            return HttpResponseNotModified(headers={"ETag": tag})
        found = series_store.read(
            [run], _keys(request), axis=axis, start=start, stop=stop, width=width
        )
        answer = {
            "cursor": run.batch_count,
            "axis": axis,
            "series": [one.json() for one in found],
            "marks": marks(run, axis),
        }
    return HttpResponse(
        orjson.dumps(answer),
        content_type="application/json",
        headers={"ETag": tag, "Cache-Control": "private, no-cache"},
    )


@access.shown_to_guests
@require_safe
def series_csv(request: HttpRequest, run_id: str) -> HttpResponse | StreamingHttpResponse:
    """Every point on the live branch, one per line, streamed; with `abandoned=1` also those that an
    attempt went back behind.
    """
    run = requested_run(request, run_id)
    response = StreamingHttpResponse(
        _csv(series_store.export_rows(run, _keys(request), _abandoned(request))),
        content_type="text/csv; charset=utf-8",
    )
    response["Content-Disposition"] = f'attachment; filename="{run.public_id}.csv"'
    return response


@access.shown_to_guests
@require_safe
def series_parquet(request: HttpRequest, run_id: str) -> StreamingHttpResponse:
    """The same rows as a Parquet file, streamed."""
    run = requested_run(request, run_id)
    pieces = series_store.export_parquet(run, _keys(request), _abandoned(request))
    response = StreamingHttpResponse(_pieces(pieces), content_type="application/vnd.apache.parquet")
    response["Content-Disposition"] = f'attachment; filename="{run.public_id}.parquet"'
    return response


def marks(run: Run, axis: series_store.Axis) -> list[dict[str, Any]]:
    """Stage switches, checkpoints and restarts, placed on `axis`."""
    found = sorted([*_stages(run), *_turns(run)])
    places = {step: float(step) for step, _, _ in found}
    if axis != "step":
        places = {0: 0.0, **series_store.axis_positions(run, "loss", axis, places)}
    return [
        {"x": places[step], "kind": kind, "label": label}
        for step, kind, label in found
        if step in places
    ]


def _stages(run: Run) -> Iterator[tuple[int, str, str]]:
    step = 0
    for stage in (run.spec or {}).get("stages", []):
        yield step, "stage", stage["name"]
        step += stage["until"]["steps"]


def _turns(run: Run) -> Iterator[tuple[int, str, str]]:
    """Restarts, and the checkpoints of the live branch."""
    for kind, attempt, step in branches.rewinds_and_checkpoints(run):
        yield (step, "restart", f"attempt {attempt}") if kind == "rewind" else (step, kind, kind)


async def _csv(rows: Iterator[tuple[Any, ...]]) -> AsyncIterator[str]:
    yield _lines([HEADER])
    while block := await sync_to_async(_block)(rows):
        yield _lines(block)


async def _pieces(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await sync_to_async(_next)(pieces)) is not None:
        yield piece


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)


def _block(rows: Iterator[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [row for _, row in zip(range(ROWS_AT_ONCE), rows, strict=False)]


def _lines(rows: list[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _keys(request: HttpRequest) -> list[str] | None:
    """The keys asked for, without what no key can be; None for all. `key=` names one, whatever it
    holds; `keys=` several by commas.
    """
    named = [*request.GET.getlist("key"), *request.GET.get("keys", "").split(",")]
    keys = [key for key in (name.replace("\0", "") for name in named) if key]
    return keys[:MOST_KEYS] or None


def _abandoned(request: HttpRequest) -> bool:
    return request.GET.get("abandoned") == "1"


def _axis(request: HttpRequest) -> series_store.Axis:
    axis = request.GET.get("axis", "step")
    if axis not in get_args(series_store.Axis):
        raise Question(f"axis must be one of {', '.join(get_args(series_store.Axis))}")
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
        raise Question(f"{name} must be a number")
    return number


def _width(request: HttpRequest) -> int:
    text = request.GET.get("width", str(WIDTH))
    if not (text.isascii() and text.isdecimal() and len(text) < 7 and int(text)):
        raise Question("width must be a whole number above 0")
    return min(int(text), WIDEST)
