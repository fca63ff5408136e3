"""Requests of different runs do not wait for each other, and those of one run keep their order."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from tests.clients.test_logging import entry, points, send
from tests.webapp.locks import wait_for_lock
from webapp.clients.writer import LARGE
from webapp.runs.models import Run
from webapp.series.folding import MOST_ROWS
from webapp.series.models import Series

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_SECONDS = 60


def run_named(name: str) -> Run:
    return Run.objects.get(name=name)


def test_a_large_request_that_waits_delays_only_its_own_run(site: str, token: str) -> None:
    wide = {f"m{key}": 1.0 for key in range(LARGE)} | {"loss": 0.5}
    assert send(site, token, entry(0, "wide"), entry(0, "narrow")).status_code == 200
    run = run_named("wide")
    with ThreadPoolExecutor(3) as pool:
        with transaction.atomic():
            Run.objects.select_for_update().get(pk=run.pk)
            large = pool.submit(send, site, token, entry(1, "wide", metrics=wide))
            wait_for_lock(large)
            small = pool.submit(send, site, token, entry(2, "wide"))
            both = pool.submit(send, site, token, entry(3, "wide"), entry(3, "narrow"))
            # These share a queue with the small requests above, and pass them.
            for step in (1, 2, 3):
                assert send(site, token, entry(step, "other")).status_code == 200
            assert not any(request.done() for request in (large, small, both))
        assert {request.result().status_code for request in (large, small, both)} == {200}
    assert points(run) == [(0, 0.0), (1, 0.5), (2, 1.0), (3, 1.5)]
    assert points(run_named("narrow")) == [(0, 0.0), (3, 1.5)]
    assert points(run_named("other")) == [(1, 0.5), (2, 1.0), (3, 1.5)]


def test_a_long_run_is_folded_after_the_answer_and_delays_no_other(site: str, token: str) -> None:
    steps = range(MOST_ROWS + 200)
    assert send(site, token, entry(0, "long"), entry(0, "other")).status_code == 200
    run = run_named("long")
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic(), connection.cursor() as cursor:
            # Whoever folds waits for this; nobody else writes to the table.
            cursor.execute("LOCK TABLE metrics_series IN EXCLUSIVE MODE")
            answer = send(site, token, *(entry(step, "long") for step in steps))
            assert answer.status_code == 200
            own = pool.submit(send, site, token, entry(len(steps), "long"))
            wait_for_lock(own)
            assert send(site, token, entry(1, "other")).status_code == 200
            assert not Series.objects.exists()
        assert own.result().status_code == 200
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not Series.objects.filter(run=run).exists():
        assert time.monotonic() < deadline, "nobody folds the long run"
        time.sleep(0.05)
    assert points(run) == [(step, step / 2) for step in [*steps, len(steps)]]
    assert points(run_named("other")) == [(0, 0.0), (1, 0.5)]
