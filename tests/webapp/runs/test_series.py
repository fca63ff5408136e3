"""The numbers behind the charts, as JSON and as CSV."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from django.test import Client

from tests.webapp.recorded import SPEC, Recorder
from tests.webapp.streams import content_of
from webapp.access.models import Team, User
from webapp.runs import leases, lifecycle
from webapp.runs.models import Run


@pytest.fixture
def trained(still: Team, alice: User, tmp_path: Path) -> Recorder:
    """A run that has made 40 of its 60 steps."""
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    recorder.begin()
    recorder.train(1, 30)
    recorder.checkpoint(30)
    recorder.train(31, 40)
    return recorder


def read(client: Client, run: Run, **query: Any) -> dict[str, Any]:
    answer = client.get(f"/runs/{run.public_id}/series.json", query)
    assert answer.status_code == 200, answer.content
    series: dict[str, Any] = answer.json()
    return series


def test_the_answer_has_the_requested_series_and_their_cursor(
    client: Client, trained: Recorder, bob: User
) -> None:
    client.force_login(bob)
    answer = read(client, trained.run, keys="loss,nothing/of/the/kind")
    assert [series["key"] for series in answer["series"]] == ["loss"]
    assert answer["series"][0]["x"] == list(range(1, 41))
    assert answer["cursor"] == trained.run.batch_count


def test_a_long_series_is_returned_in_buckets_with_minimum_and_maximum(
    client: Client, trained: Recorder, bob: User
) -> None:
    client.force_login(bob)
    series = read(client, trained.run, keys="loss", width=10)["series"][0]
    assert series["count"] == 40
    assert series["points"] <= 11
    assert max(series["max"]) == 2.0


def test_zooming_returns_only_that_range(client: Client, trained: Recorder, bob: User) -> None:
    client.force_login(bob)
    assert read(client, trained.run, keys="loss", **{"from": 5, "to": 7})["series"][0]["x"] == [
        5,
        6,
        7,
    ]


@pytest.mark.parametrize(("axis", "last"), [("step", 40), ("tokens", 480 * 40), ("compute", 40e9)])
def test_the_axis_can_be_steps_tokens_or_compute(
    client: Client, trained: Recorder, bob: User, axis: str, last: float
) -> None:
    client.force_login(bob)
    assert read(client, trained.run, keys="loss", axis=axis)["series"][0]["x"][-1] == last


def test_marks_show_stages_checkpoints_and_restarts(
    client: Client, trained: Recorder, bob: User
) -> None:
    client.force_login(bob)
    leases.finish(trained.run.pk, trained.attempt, "failed", "killed")
    trained.run.refresh_from_db()
    lifecycle.resume(trained.run)
    second_attempt = Recorder(trained.run, trained.folder, trained.clock)
    second_attempt.send([{"type": "rewind", "step": 30}])
    second_attempt.train(31, 32)
    marks = read(client, trained.run, keys="loss")["marks"]
    assert [(mark["x"], mark["kind"], mark["label"]) for mark in marks] == [
        (0, "stage", "forward"),
        (30, "checkpoint", "checkpoint"),
        (30, "restart", "attempt 2"),
        (30, "stage", "reverse"),
    ]


def test_marks_have_positions_on_other_axes(client: Client, trained: Recorder, bob: User) -> None:
    client.force_login(bob)
    marks = read(client, trained.run, keys="loss", axis="tokens")["marks"]
    assert [(mark["label"], mark["x"]) for mark in marks] == [
        ("forward", 0),
        ("checkpoint", 480 * 30),
        ("reverse", 480 * 30),
    ]


def test_unchanged_series_are_not_sent_again(client: Client, trained: Recorder, bob: User) -> None:
    client.force_login(bob)
    address = f"/runs/{trained.run.public_id}/series.json?keys=loss"
    tag = client.get(address)["ETag"]
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 304
    trained.train(41, 42)
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"axis": "weekday"}, "axis must be one of step, tokens, time, compute"),
        ({"from": "early"}, "from must be a number"),
        ({"to": "nan"}, "to must be a number"),
        ({"width": "0"}, "width must be a whole number above 0"),
        ({"width": "-3"}, "width must be a whole number above 0"),
    ],
)
def test_an_invalid_query_gets_an_error_message(
    client: Client, run: Run, bob: User, query: dict[str, str], message: str
) -> None:
    client.force_login(bob)
    answer = client.get(f"/runs/{run.public_id}/series.json", query)
    assert answer.status_code == 400
    assert answer.json()["message"] == message


def test_csv_contains_every_point_of_the_live_branch(
    client: Client, trained: Recorder, bob: User
) -> None:
    client.force_login(bob)
    answer = client.get(f"/runs/{trained.run.public_id}/series.csv", {"keys": "loss"})
    lines = content_of(answer).decode().splitlines()
    assert lines[0] == "attempt,step,key,value,tokens,compute,wall_time"
    assert len(lines) == 41
    assert lines[1].startswith("1,1,loss,2.0,480,")


def test_parquet_contains_the_same_rows(client: Client, trained: Recorder, bob: User) -> None:
    client.force_login(bob)
    answer = client.get(f"/runs/{trained.run.public_id}/series.parquet", {"keys": "loss"})
    table = pyarrow.parquet.read_table(io.BytesIO(content_of(answer)))
    assert table.column_names == [
        "attempt",
        "step",
        "key",
        "value",
        "tokens",
        "compute",
        "wall_time",
    ]
    assert table.slice(0, 1).drop(["wall_time"]).to_pylist() == [
        {"attempt": 1, "step": 1, "key": "loss", "value": 2.0, "tokens": 480, "compute": 1e9}
    ]
    assert table.num_rows == 40


@pytest.mark.parametrize("name", ["series.csv", "series.parquet"])
def test_abandoned_tails_are_returned_on_request(
    client: Client, trained: Recorder, bob: User, name: str
) -> None:
    client.force_login(bob)
    leases.finish(trained.run.pk, trained.attempt, "failed", "killed")
    trained.run.refresh_from_db()
    lifecycle.resume(trained.run)
    second_attempt = Recorder(trained.run, trained.folder, trained.clock)
    second_attempt.send([{"type": "rewind", "step": 30}])
    second_attempt.train(31, 32)

    def rows(**query: str) -> int:
        content = content_of(
            client.get(f"/runs/{trained.run.public_id}/{name}", {"keys": "loss", **query})
        )
        return (
            len(content.splitlines()) - 1
            if name.endswith("csv")
            else int(pyarrow.parquet.read_table(io.BytesIO(content)).num_rows)
        )

    assert (rows(), rows(abandoned="1")) == (32, 42)


def test_a_stranger_gets_neither_series_nor_export(client: Client, run: Run, charlie: User) -> None:
    client.force_login(charlie)
    for name in ("series.json", "series.csv", "series.parquet"):
        assert client.get(f"/runs/{run.public_id}/{name}").status_code == 404
