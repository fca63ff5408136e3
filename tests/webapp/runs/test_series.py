"""The numbers behind the charts, as JSON and as CSV."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from django.test import Client

from tests.webapp.recorded import SPEC, Recorder
from tests.webapp.streams import content_of
from webapp.access.models import Team, User
from webapp.pages.panels import charts
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


def evaluation(step: int, when: str, problems: int, rate: float, before: float) -> dict[str, Any]:
    difference = None if when == "before" else {"pass_rate": rate - before, "interval": [0.0, 0.1]}
    group = {
        "by": "tier",
        "name": "frontier",
        "n": problems // 2,
        "pass_rate": rate,
        "interval": [rate, rate],
        "difference": difference,
    }
    return {
        "type": "evaluation",
        "step": step,
        "when": when,
        "role": "evaluation",
        "pass_rate": rate,
        "interval": [rate - 0.1, rate + 0.1],
        "samples": 1,
        "problems": problems,
        "pass_at": {},
        "truncated": 0.0,
        "groups": [group],
        "difference": difference,
    }


@pytest.fixture
def evaluated_in_part(still: Team, alice: User, tmp_path: Path) -> Recorder:
    """During training 50 of its 200 problems are evaluated, which were easier before it."""
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    recorder.send([evaluation(0, "before", 200, 0.4, 0.4)])
    recorder.send([recorder._metrics(step) for step in range(1, 31)])
    recorder.send([evaluation(step, "during", 50, 0.7, 0.6) for step in (10, 20)])
    return recorder


def test_the_base_is_that_of_the_evaluated_problems_and_the_same_for_every_range(
    client: Client, evaluated_in_part: Recorder, alice: User
) -> None:
    client.force_login(alice)
    run = evaluated_in_part.run
    asked: list[dict[str, Any]] = [{}, {"from": 5, "to": 15}, {"from": 12, "to": 13}, {"width": 1}]
    for query in asked:
        bases = read(client, run, keys="eval/pass_rate", **query)["bases"]["eval/pass_rate"]
        assert [(x, round(rate, 9)) for x, rate in bases] == [(0, 0.4), (20, 0.6)]
    evaluated_in_part.send([evaluation(30, "after", 200, 0.8, 0.4)])
    bases = read(client, run, keys="eval/pass_rate")["bases"]["eval/pass_rate"]
    assert [(x, round(rate, 9)) for x, rate in bases] == [(0, 0.4), (20, 0.6), (30, 0.4)]


def test_the_curve_of_pass_rates_is_of_problems_that_every_evaluation_asked(
    client: Client, still: Team, alice: User, tmp_path: Path
) -> None:
    client.force_login(alice)
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    page = f"/runs/{recorder.run.public_id}/"
    # The chart is chosen before the first evaluation has arrived.
    assert "eval/common/pass_rate" in client.get(page).content.decode()
    for step, when, problems, rate, common in (
        (0, "before", 200, 0.4, 0.6),
        (10, "during", 50, 0.7, 0.7),
        (20, "after", 200, 0.5, 0.8),
    ):
        of_common = {"problems": 50, "pass_rate": common, "interval": [0.0, 1.0]}
        recorder.send(
            [
                evaluation(step, when, problems, rate, 0.4) | {"common": of_common},
                {
                    "type": "metrics",
                    "step": step,
                    "values": {"eval/pass_rate": rate, "eval/common/pass_rate": common},
                    "tokens": step,
                    "compute": step,
                },
            ]
        )
    content = client.get(page).content.decode()
    assert "eval/common/pass_rate" in content
    assert "the 50 held-out problems that every evaluation asks" in content
    bases = read(client, recorder.run, keys="eval/common/pass_rate")["bases"]
    assert bases["eval/common/pass_rate"] == [[20, 0.6]]
    recorder.run.refresh_from_db()
    assert recorder.run.summary["sparkline"] == [0.6, 0.7, 0.8]
    assert recorder.run.summary["pass_rate"] == 0.5


def test_logs_without_common_problems_keep_the_curve_of_all(
    client: Client, evaluated_in_part: Recorder, alice: User
) -> None:
    client.force_login(alice)
    page = client.get(f"/runs/{evaluated_in_part.run.public_id}/").content.decode()
    assert "eval/pass_rate" in page
    assert "eval/common/pass_rate" not in page


def test_the_table_compares_an_evaluation_with_the_same_problems_before_training(
    client: Client, evaluated_in_part: Recorder, alice: User
) -> None:
    client.force_login(alice)
    page = client.get(f"/runs/{evaluated_in_part.run.public_id}/").content.decode()
    table = page[page.index("<h2>Held-out problems</h2>") :]
    rows = [" ".join(re.sub("<[^>]*>", " ", row).split()) for row in table.split("<tr")[2:4]]
    assert rows[0].endswith("All 50 60.0 % 70.0 % 60.0 % to 80.0 % +10.0 +0.0 to +10.0")
    assert "tier frontier 25 60.0 % 70.0 %" in rows[1]
    assert "60.0 % → 70.0 % of 50 of the held-out problems" in page


def test_the_base_has_positions_on_every_axis(
    client: Client, trained: Recorder, alice: User
) -> None:
    client.force_login(alice)
    for axis, last in (("step", 40.0), ("tokens", 480 * 40.0), ("compute", 40e9)):
        [[x, rate]] = read(client, trained.run, keys="loss", axis=axis)["bases"]["eval/pass_rate"]
        assert (x, round(rate, 9)) == (last, 0.4)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        *((key, True) for key in ("lr", "train/lr", "lr/group0", "lr-AdamW/pg1", "learning_rate")),
        *((key, True) for key in ("learningRate", "train/learning_rate", "optim/actor_lr", "LR")),
        *((key, True) for key in ("epoch", "train/epoch", "kl_coef", "train/global_step")),
        *((key, True) for key in ("weight_decay", "actor/kl_coef", "num_tokens", "tokens_seen")),
        *((key, True) for key in ("beta", "kl_beta", "train/beta1", "beta/0", "epsilon")),
        *((key, True) for key in ("lrs/0", "baseLR", "param_group_0/lr", "optim/lr_0")),
        *((key, True) for key in ("rollout/temperature", "clip_range", "ema_decay", "loss_scale")),
        *((key, True) for key in ("alpha", "Adam/eps", "lambda", "actor/entropy_coeff")),
        *((key, False) for key in ("loss", "train/loss", "reward", "grad_norm", "pass_rate")),
        *((key, False) for key in ("theta", "meta", "delta", "alphabet", "epsilon_loss", "color")),
        *((key, False) for key in ("ent_coef_loss", "clip_ratio", "kl", "beta_error", "0", "")),
        *((key, False) for key in ("step_time", "tokens_per_second", "completion_length")),
        *((key, False) for key in ("learning_curve", "system/gpu.0.temp", "error_rate")),
    ],
)
def test_a_schedule_is_known_by_its_name(key: str, expected: bool) -> None:
    [(_, [chart])] = charts.charts_by_prefix([key])
    assert chart.lines[0].schedule is expected
