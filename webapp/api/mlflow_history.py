"""The values of a metric that MLflow's clients read back, of one run or of several."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from webapp.api.mlflow_lookup import find_run, offset, paged, visible_runs
from webapp.api.mlflow_types import BulkHistory, History, metric, read
from webapp.api.requests import ReadRoute, Request, Route
from webapp.clients.client_batch import key
from webapp.runs.event_rows import storable
from webapp.runs.models import Run
from webapp.series import series_store

BASE = "/api/2.0/mlflow/metrics/"
# Of one answer, as MLflow's own client asks for; it follows the page token too.
MOST_POINTS = 25_000


def get_history(request: Request) -> dict[str, Any]:
    message = read(History, request.query)
    run, first = find_run(request, message.run_id), offset(message.page_token)
    count = min(message.max_results, MOST_POINTS)
    metrics: list[dict[str, Any]] = []
    for point in islice(_points(run, message.metric_key), first, None):
        metrics.append(point)
        # Not the stop of `islice`, which takes no number beyond 64 bits; a client may send one.
        if len(metrics) > count:
            break
    return paged("metrics", metrics, first, count)


def get_history_bulk(request: Request) -> dict[str, Any]:
    """Return at most `max_results` values in all, run by run in order of their ids.

    As in MLflow, a run that is not there has none.
    """
    message = read(BulkHistory, {**request.query, "run_id": request.values("run_id")})
    ids = [storable(run_id) for run_id in message.run_id]
    runs = visible_runs(request).filter(public_id__in=ids).order_by("public_id")
    points = (
        {**point, "run_id": run.public_id}
        for run in runs
        for point in _points(run, message.metric_key)
    )
    return {"metrics": list(islice(points, message.max_results))}


def _points(run: Run, name: str) -> Iterator[dict[str, Any]]:
    for _, step, _, value, _, _, wall_time in series_store.export_rows(run, [key(name)]):
        yield metric(name, value, wall_time, step)


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", BASE + "get-history"): ReadRoute(get_history),
    ("GET", BASE + "get-history-bulk"): ReadRoute(get_history_bulk),
}
