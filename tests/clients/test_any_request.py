"""Whatever a program sends is taken in or refused in words, never half; however it is cut and
repeated, its series are the same.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clients.access_table import TABLE
from tests.fuzz.mutation import changed, places
from webapp.runs.models import Run
from webapp.series import series_store

pytestmark = pytest.mark.django_db(transaction=True)
http = httpx2.Client(timeout=60)
shared = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)

texts = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(
    ["", "\0", "\ud800", "NaN", "-Infinity", "k" * 300, "1", "__proto__"]
)
numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from([2**62, -(2**63), 2**64, 10**400, 1e308, 5e-324, math.nan, math.inf])
)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(texts, inside, max_size=3),
    max_leaves=8,
)

ENTRY = {
    "project": "p",
    "run": "r",
    "run_id": "r",
    "metrics": {"loss": 1.0},
    "step": 3,
    "timestamp": None,
    "config": {"a": 1},
    "log_id": "x",
}
ALERT = {
    "project": "p",
    "run": "r",
    "title": "t",
    "text": "x",
    "level": "warn",
    "step": 1,
    "timestamp": None,
    "alert_id": "a",
}
UPLOAD = {
    "project": "p",
    "run": "r",
    "step": 1,
    "relative_path": "x.png",
    "uploaded_file": {"path": "not-kept"},
}
POINT = {"key": "loss", "value": 1.0, "timestamp": 1, "step": 1}
PAIR = {"key": "a", "value": "b"}
BODIES: dict[str, Any] = {
    "/api/bulk_log": {"kwargs": {"logs": [ENTRY]}},
    "/api/bulk_log_system": {"kwargs": {"logs": [ENTRY]}},
    "/api/bulk_alert": {"kwargs": {"alerts": [ALERT]}},
    "/api/bulk_upload_media": {"kwargs": {"uploads": [UPLOAD]}},
    "/api/get_run_summary": {"kwargs": {"project": "p", "run": "r", "run_id": None}},
    "/api/get_metric_values": {
        "args": ["p", "r", "loss", None, 3, "2026-01-01T00:00:00", 2],
        "kwargs": {"max_points": 3},
    },
    "/api/get_alerts": {"kwargs": {"project": "p", "since": "2026-01-01", "level": "warn"}},
    "/api/get_snapshot": {"args": ["p", "r", 3]},
    "/api/2.0/mlflow/experiments/search": {
        "filter": "name LIKE 'a%'",
        "max_results": 3,
        "order_by": ["name DESC"],
        "view_type": "ALL",
    },
    "/api/2.0/mlflow/logged-models/search": {
        "experiment_ids": ["0"],
        "filter": "name = 'a'",
        "order_by": [{"field_name": "name", "ascending": False}],
    },
    "/api/2.0/mlflow/runs/log-batch": {
        "run_id": "RUN",
        "metrics": [POINT],
        "params": [PAIR],
        "tags": [PAIR],
    },
    "/api/2.0/mlflow/runs/log-metric": {"run_id": "RUN", **POINT},
    "/api/2.0/mlflow/runs/log-parameter": {"run_id": "RUN", **PAIR},
    "/api/2.0/mlflow/runs/log-inputs": {
        "run_id": "RUN",
        "datasets": [{"dataset": {"name": "d"}, "tags": [PAIR]}],
    },
    "/api/2.0/mlflow/runs/search": {
        "experiment_ids": ["0"],
        "filter": "params.a = 'b' AND metrics.loss < 1",
        "run_view_type": "ALL",
        "max_results": 3,
        "order_by": ["start_time", "metrics.loss DESC"],
    },
    "/api/2.0/mlflow/runs/update": {
        "run_id": "RUN",
        "status": "FINISHED",
        "end_time": 5,
        "run_name": "n",
    },
    "/api/2.0/mlflow/runs/create": {
        "experiment_id": "0",
        "run_name": "n",
        "start_time": 5,
        "tags": [PAIR],
    },
    "/api/2.0/mlflow/experiments/create": {"name": "e", "tags": [PAIR]},
}


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, Any]:
    """A path, and its body with one part replaced by anything."""
    path = draw(st.sampled_from(sorted(BODIES)))
    body = BODIES[path]
    return path, changed(body, draw(st.sampled_from(places(body))), draw(values))


def post(site: str, token: str, path: str, body: Any) -> httpx2.Response:
    return http.post(
        site + path, headers={"Authorization": f"Bearer {token}"}, content=json.dumps(body)
    )


@settings(shared, max_examples=250)
@given(request=requests())
def test_any_body_is_taken_in_or_refused_in_words(
    site: str, token: str, request: tuple[str, Any]
) -> None:
    path, body = request
    run = Run.objects.filter(name="fuzzed").first()
    if run is None:
        post(site, token, "/api/2.0/mlflow/runs/create", {"run_name": "fuzzed"})
        run = Run.objects.get(name="fuzzed")
    answer = http.post(
        site + path,
        headers={"Authorization": f"Bearer {token}"},
        content=json.dumps(body).replace("RUN", run.public_id),
    )
    assert answer.status_code in (200, 400, 404), (answer.status_code, answer.text)
    assert answer.status_code == 200 or answer.json()["message"]


@settings(shared, max_examples=60)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]),
    path=st.sampled_from(sorted({p for _, p in TABLE})),
    body=st.binary(max_size=30),
    headers=st.dictionaries(
        st.sampled_from(["Content-Type", "Content-Encoding", "Range"]),
        st.sampled_from(["gzip", "text/html", "x"]),
    ),
    query=st.dictionaries(
        st.sampled_from(
            [
                "run_id",
                "experiment_id",
                "experiment_name",
                "metric_key",
                "max_results",
                "page_token",
            ]
        ),
        texts | st.just("-1"),
        max_size=3,
    ),
)
def test_any_request_is_answered_in_words(
    site: str,
    token: str,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
    query: dict[str, str],
) -> None:
    params = {name: value.encode("utf-8", "replace").decode() for name, value in query.items()}
    answer = http.request(
        method,
        site + path,
        headers={"Authorization": f"Bearer {token}", **headers},
        content=body,
        params=params,
    )
    assert answer.status_code < 500, (answer.status_code, answer.text)


@settings(shared, max_examples=25)
@given(odd=st.dictionaries(texts, values, max_size=4), step=scalars, timestamp=texts | st.none())
def test_what_is_odd_in_a_log_costs_nothing_that_came_with_it(
    site: str, token: str, odd: dict[str, Any], step: Any, timestamp: str | None
) -> None:
    Run.objects.all().delete()
    entries = [
        {**ENTRY, "metrics": {**odd, "loss": 1.5}, "step": step, "timestamp": timestamp},
        {**ENTRY, "step": 9, "log_id": "y"},
    ]
    answer = post(site, token, "/api/bulk_log", {"kwargs": {"logs": entries}})
    stored_losses = [
        (row[1], row[3])
        for run in Run.objects.all()
        for row in series_store.export_rows(run, ["loss"])
    ]
    assert sorted(value for _, value in stored_losses) == (
        [1.0, 1.5] if answer.status_code == 200 else []
    )


logs = st.lists(
    st.tuples(
        st.integers(-5, 30),
        st.dictionaries(st.sampled_from(["loss", "kl", "lr"]), st.floats(width=32), min_size=1),
    ),
    min_size=1,
    max_size=25,
)


@settings(shared, max_examples=15)
@given(logs=logs, data=st.data())
@pytest.mark.parametrize("client", ["trackio", "mlflow"])
def test_however_requests_are_cut_repeated_and_ordered_the_series_are_the_same(
    site: str,
    token: str,
    client: str,
    logs: list[tuple[int, dict[str, float]]],
    data: st.DataObject,
) -> None:
    Run.objects.all().delete()
    entries = [
        {**ENTRY, "step": step, "metrics": said(metrics), "log_id": str(number)}
        for number, (step, metrics) in enumerate(logs)
    ]
    points = [
        {"key": k, "value": v, "timestamp": number, "step": step}
        for number, (step, metrics) in enumerate(logs)
        for k, v in said(metrics).items()
    ]
    items = entries if client == "trackio" else points
    order = data.draw(st.permutations(range(len(items))))
    repeated = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=10))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(items) + len(repeated)), max_size=5)))
    item_numbers = [
        [*order, *repeated][low:high] for low, high in zip([0, *cuts], [*cuts, None], strict=True)
    ]
    run = (
        str(post(site, token, "/api/2.0/mlflow/runs/create", {}).json()["run"]["info"]["run_id"])
        if client == "mlflow"
        else "r"
    )
    for numbers in filter(None, item_numbers):
        batch = [items[number] for number in numbers]
        body = (
            {"kwargs": {"logs": batch}}
            if client == "trackio"
            else {"run_id": run, "metrics": batch}
        )
        assert (
            post(
                site,
                token,
                "/api/bulk_log" if client == "trackio" else "/api/2.0/mlflow/runs/log-batch",
                body,
            ).status_code
            == 200
        )
    stored_points = Counter(
        (row[2], row[1], repr(row[3]))
        for row in series_store.export_rows(Run.objects.get(), abandoned=True)
    )
    assert stored_points == Counter(
        (key, step, repr(value)) for step, metrics in logs for key, value in metrics.items()
    )


def said(values: dict[str, float]) -> dict[str, Any]:
    """Values as the stock clients write them: JSON has no NaN."""
    return {
        name: value
        if math.isfinite(value)
        else str(value).replace("inf", "Infinity").replace("nan", "NaN")
        for name, value in values.items()
    }
