"""What programs log is taken in once, whole or not at all, and what cannot be kept says so."""

from __future__ import annotations

import json
import math
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from django.test import Client

from tests.clients.conftest import only_run
from webapp.access.models import User
from webapp.clients import receipts
from webapp.clients.client_batch import digest_id
from webapp.clients.limits import MAX_PARAMS, MAX_SERIES
from webapp.clients.models import Origin, Receipt
from webapp.runs import lifecycle
from webapp.runs.models import Event, Run, State
from webapp.series import series_store

pytestmark = pytest.mark.django_db(transaction=True)
http = httpx2.Client(timeout=60)  # one for all, because making one costs more than most requests


def entry(step: int, run: str = "r", **more: Any) -> dict[str, Any]:
    return {
        "project": "p",
        "run": run,
        "run_id": run,
        "metrics": {"loss": step / 2},
        "step": step,
        "log_id": f"{run}-{step}",
        **more,
    }


def send(
    site: str, token: str, *entries: dict[str, Any], path: str = "bulk_log", name: str = "logs"
) -> httpx2.Response:
    body = {"args": [], "kwargs": {name: list(entries), "hf_token": None}}
    return http.post(f"{site}/api/{path}", headers={"X-Trackio-Write-Token": token}, json=body)


def points(run: Run, key: str = "loss") -> list[tuple[int, float]]:
    return [(row[1], row[3]) for row in series_store.export_rows(run, [key], abandoned=True)]


def test_a_log_that_comes_twice_counts_once_however_it_is_batched(site: str, token: str) -> None:
    entries = [entry(step) for step in range(40)]
    shuffled = random.Random(1)
    with ThreadPoolExecutor(4) as pool:
        batches = [shuffled.sample(entries, 17) for _ in range(20)]
        answers = list(pool.map(lambda batch: send(site, token, *batch, *batch[:3]), batches))
    assert {answer.status_code for answer in answers} == {200}
    assert send(site, token, *entries).status_code == 200
    assert sorted(points(only_run())) == [(step, step / 2) for step in range(40)]
    assert Receipt.objects.count() == 40


def test_many_writers_at_once_lose_nothing(site: str, token: str) -> None:
    def write(run: int) -> set[int]:
        return {
            send(
                site, token, *(entry(step, f"r{run % 5}") for step in range(run, 60, 10))
            ).status_code
            for _ in range(3)
        }

    with ThreadPoolExecutor(10) as pool:
        assert set().union(*pool.map(write, range(10))) == {200}
    runs = Run.objects.order_by("name")
    assert [run.name for run in runs] == [f"r{i}" for i in range(5)]
    for i, run in enumerate(runs):
        assert sorted(points(run)) == [(step, step / 2) for step in range(60) if step % 5 == i]


def test_a_bad_request_fails_alone_and_says_where(site: str, token: str) -> None:
    bad = send(site, token, {**entry(1), "metrics": "many"})
    assert (bad.status_code, bad.json()["error"]) == (
        400,
        "kwargs.logs.0.metrics: Input should be an object",
    )
    assert not Run.objects.exists()


def test_what_is_no_request_is_refused_in_words(site: str, token: str) -> None:
    for body in (
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"kwargs": {}}',
        b"\xff",
        b'{"kwargs": {"logs": [1]}}',
        b"[" * 10_000,
    ):
        for path in ("bulk_log", "bulk_alert", "get_runs_for_project", "get_run_summary"):
            answer = http.post(
                f"{site}/api/{path}", headers={"X-Trackio-Write-Token": token}, content=body
            )
            assert answer.status_code in (200, 400) and (
                answer.status_code == 200 or answer.json()["error"]
            ), (path, answer.text)


def test_values_that_are_no_numbers_refuse_nothing(site: str, token: str) -> None:
    odd = {
        "text": "x",
        "table": {"_type": "trackio.table"},
        "list": [1],
        "huge": 10**400,
        "none": None,
        "true": True,
        "a\0b": 2,
        "k" * 500: 3,
    }
    strange = {
        **entry(3),
        "metrics": {**odd, "loss": 1.5, "list/0": 1, "list": {"0": 2}},
        "config": {"a\0": "\0", "b": float("nan")},
    }
    text = json.dumps({"kwargs": {"logs": [strange]}})
    assert (
        http.post(
            f"{site}/api/bulk_log", headers={"X-Trackio-Write-Token": token}, content=text
        ).status_code
        == 200
    )
    run = only_run()
    assert points(run) == [(3, 1.5)]
    assert run.origin.not_kept == ["huge", "list/0", "table", "text"]
    assert len(series_store.keys(run)) == 5 and all(
        len(key) <= 120 for key in series_store.keys(run)
    )


def test_a_step_is_kept_as_it_was(site: str, token: str) -> None:
    """Whatever it is; without one a log stands at the step that the run has reached."""
    stored_steps = {-5: -5, 2**62 - 1: 2**62 - 1, 7.0: 7, None: 40}
    for number, step in enumerate(stored_steps):
        send(site, token, entry(40, f"r{number}"), {**entry(0, f"r{number}"), "step": step})
    points_by_run = [sorted(points(run)) for run in Run.objects.order_by("name")]
    assert points_by_run == [sorted([(40, 20.0), (step, 0.0)]) for step in stored_steps.values()]
    assert not Event.objects.filter(type="log").exists()


def test_a_step_or_a_time_that_cannot_be_kept_is_said_in_the_runs_log(
    site: str, token: str
) -> None:
    odd = [2**62, -(10**30), 1.5, "NaN", "Infinity"]
    entries = [
        {**entry(0), "step": step, "log_id": str(step), "metrics": {"loss": 1.0 + number}}
        for number, step in enumerate(odd)
    ]
    late = entry(40, timestamp="yesterday", metrics={"loss": 9.0, "train/global_step": math.nan})
    text = json.dumps({"kwargs": {"logs": [entry(40), *entries, {**late, "log_id": "late"}]}})
    for _ in range(2):
        assert (
            http.post(
                f"{site}/api/bulk_log", headers={"X-Trackio-Write-Token": token}, content=text
            ).status_code
            == 200
        )
    assert sorted(points(only_run())) == [
        (40, value) for value in (1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 20.0)
    ]
    messages = [
        line.payload["message"] for line in Event.objects.filter(type="log").order_by("seq")
    ]
    assert (
        len(messages) == 2
        and "The step 4611686018427387904 is no whole number" in messages[0]
        and "'yesterday' is no moment" in messages[1]
    )


def test_a_name_for_each_step_fills_the_run_and_not_the_server(site: str, token: str) -> None:
    """Known series go on, new ones are left out, and the run says so once."""
    wide = {f"loss/{number}": 1.0 for number in range(MAX_SERIES - 1)}
    for step, metrics_ in (
        (1, {"loss": 1.0, **wide}),
        (2, {"new/a": 1.0, "loss": 2.0}),
        (3, {"new/b": 1.0}),
        (4, {"loss": 4.0}),
    ):
        assert send(site, token, entry(step, metrics=metrics_)).status_code == 200
    run = only_run()
    assert points(run) == [(1, 1.0), (2, 2.0), (4, 4.0)]
    assert set(series_store.keys(run)) == {"loss", *wide}
    [line] = Event.objects.filter(type="log")
    assert "has 10,000 series" in line.payload["message"] and "“new/a”" in line.payload["message"]
    browser = Client()
    browser.force_login(User.objects.get())
    assert "has 10,000 series" in browser.get(f"/runs/{run.public_id}/").content.decode()


def test_a_configuration_has_bounds_too(site: str, token: str) -> None:
    config = {f"p{number}": number for number in range(MAX_PARAMS + 2)}
    send(site, token, entry(1, config=config), entry(2, config={"long": ["x" * 20_000], "p1": 5}))
    run = only_run()
    assert (
        len(run.origin.params) == MAX_PARAMS
        and run.origin.params["p1"] == 5
        and len(points(run)) == 2
    )
    assert "5,000 parameters" in Event.objects.get(type="log").payload["message"]
    send(site, token, entry(3, run="other", config={"long": ["x" * 20_000]}))
    assert len(Origin.objects.get(key="other").params["long"]) == 8000


def test_the_trainers_own_step_goes_before_the_clients_counter(site: str, token: str) -> None:
    send(site, token, entry(0, metrics={"train/loss": 2.0, "train/global_step": 500}))
    assert points(only_run(), "train/loss") == [(500, 2.0)]


def test_data_for_a_run_that_was_deleted_makes_it_anew(site: str, token: str) -> None:
    send(site, token, entry(1))
    only_run().delete()
    assert send(site, token, entry(2)).status_code == 200
    assert points(only_run()) == [(2, 1.0)]


def test_a_run_that_goes_back_when_it_is_taken_up_again_opens_another_attempt(
    site: str, token: str
) -> None:
    for started, steps in (("monday", range(10)), ("tuesday", range(6, 12))):
        entries = [
            entry(step, log_id=f"{started}-{step}", metrics={"loss": step + len(started)})
            for step in steps
        ]
        send(site, token, {**entries[0], "config": {"_Created": started}}, *entries[1:])
    run = only_run()
    [live] = series_store.read([run], ["loss"])
    assert dict(zip(live.x, live.mean, strict=True)) == {
        **{step: step + 6 for step in range(6)},
        **{step: step + 7 for step in range(6, 12)},
    }
    assert (run.attempt, run.step, len(points(run))) == (2, 11, 16)


def test_half_a_character_refuses_no_request(site: str, token: str) -> None:
    """As in the name of a file that is no text."""
    body = json.dumps({"args": [], "kwargs": {"logs": [entry(1, config={"path": "caf\udce9"})]}})
    assert (
        http.post(
            f"{site}/api/bulk_log", headers={"X-Trackio-Write-Token": token}, content=body
        ).status_code
        == 200
    )
    assert only_run().origin.params["path"] == "caf?" and points(only_run()) == [(1, 0.5)]


def test_a_second_program_that_evaluates_backwards_abandons_no_curve(site: str, token: str) -> None:
    first = [entry(step, log_id=f"a-{step}") for step in range(20)]
    send(site, token, {**first[0], "config": {"_Created": "A"}}, *first[1:])
    for step in (15, 5):
        send(
            site,
            token,
            {
                **entry(step, log_id=f"b-{step}", metrics={"eval/acc": 0.5}),
                "config": {"_Created": "B"},
            },
        )
    run = only_run()
    assert (
        run.attempt == 1
        and len(points(run)) == 20
        and len(series_store.read([run], ["loss"])[0].x) == 20
    )


def test_an_alert_is_a_line_of_the_log_once(site: str, token: str) -> None:
    alert = {
        "project": "p",
        "run": "r",
        "run_id": "r",
        "title": "Look",
        "text": "here",
        "level": "warn",
        "step": 3,
        "alert_id": "a",
    }
    for _ in range(2):
        assert send(site, token, alert, path="bulk_alert", name="alerts").status_code == 200
    line = Event.objects.get(type="log")
    assert (line.payload, line.step) == ({"level": "warning", "message": "Look: here"}, 3)


def test_long_names_that_begin_alike_stay_apart(site: str, token: str) -> None:
    """Whatever their length, and the same however often they come."""
    for _ in range(2):
        for end in "ab":
            send(site, token, entry(1, project="P" * 600 + end, run_id="I" * 300 + end))
            send(site, token, entry(1, project="P", run_id="I" * 300 + end))
    assert Run.objects.count() == 4


def test_a_moment_outside_of_the_calendar_is_now(site: str, token: str) -> None:
    for timestamp in ("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"):
        alert = {
            "project": "p",
            "run": "r",
            "title": "t",
            "level": "warn",
            "timestamp": timestamp,
            "alert_id": timestamp,
            "step": 1,
        }
        assert send(site, token, alert, path="bulk_alert", name="alerts").status_code == 200


def test_receipts_go_when_they_are_old_and_what_comes_even_later_counts_once_still(
    site: str, token: str
) -> None:
    """Trackio's client keeps what it could not send until its next run in the project, and sends it
    with the time of then.
    """
    then = datetime.now(UTC) - receipts.KEPT - timedelta(days=3)
    first = entry(1, timestamp=then.isoformat(), metrics={"loss": 1.0, "kl": math.pi})
    machine = {**entry(0), "timestamp": then.isoformat(), "metrics": {"cpu": 0.5}, "log_id": "m"}
    assert send(site, token, first, entry(2)).status_code == 200
    assert send(site, token, machine, path="bulk_log_system").status_code == 200
    Receipt.objects.exclude(log=digest_id("log", "r-2")).update(at=then)
    imported = lifecycle.create_run(
        only_run().team, None, None, source=Run.Source.IMPORTED, state=State.STOPPED
    )
    Receipt.objects.create(run=imported, log=digest_id("x"), at=then)
    assert (receipts.prune(), Receipt.objects.count()) == (2, 2)
    run = Run.objects.get(name="r")
    new = entry(3, timestamp=then.isoformat(), metrics={"loss": 1.0})
    assert send(site, token, first, entry(2), new).status_code == 200
    assert send(site, token, machine, path="bulk_log_system").status_code == 200
    assert (
        points(run) == [(1, 1.0), (2, 1.0), (3, 1.0)]
        and points(run, "kl") == [(1, math.pi)]
        and len(points(run, "system/cpu")) == 1
    )


def test_a_backlog_of_any_length_is_taken_in_piece_by_piece(site: str, token: str) -> None:
    """Trackio's client sends all that waits as one request; other requests of that length are
    refused.
    """
    note = "ä" * 50_000
    late = [{**entry(step), "metrics": {"loss": step / 2, "note": note}} for step in range(700)]
    headers = {"X-Trackio-Write-Token": token}
    text = json.dumps(
        {"args": [], "kwargs": {"logs": late, "hf_token": None}}, ensure_ascii=False
    ).encode()
    assert len(text) > 64 * 2**20
    for _ in range(2):
        assert http.post(f"{site}/api/bulk_log", headers=headers, content=text).json() == {
            "data": None
        }
    assert points(only_run()) == [(step, step / 2) for step in range(700)]
    broken = http.post(f"{site}/api/bulk_log", headers=headers, content=text[:-40])
    assert (broken.status_code, broken.json()["error_code"]) == (400, "BAD_REQUEST")
    assert http.post(f"{site}/api/bulk_log", content=text).status_code == 401
    with suppress(httpx2.TransportError):  # it may hear of the end before it has read the answer
        assert (
            "4.0 MiB"
            in http.post(f"{site}/api/bulk_alert", headers=headers, content=text).json()["error"]
        )
