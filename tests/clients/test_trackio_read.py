"""What Trackio's command line and its calls read from here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.clients.conftest import client_environment
from tests.clients.test_trackio import post
from tests.webapp.conftest import member
from webapp.access import api_tokens
from webapp.access.models import Role, Scope, Team
from webapp.api.trackio_read import ROUTES

pytestmark = pytest.mark.django_db(transaction=True)
TIME = "2026-11-30T12:00:{:02}+00:00"


@pytest.fixture
def logged(site: str, token: str) -> str:
    """A run of ten logs with figures of the machine and an alert; returns its client's id."""
    entry = {"project": "sums", "run": "first", "run_id": "r1"}
    logs = [
        {
            **entry,
            "metrics": {"loss": 1 / (step + 1), **({"acc": 0.5} if step == 9 else {})},
            "step": step,
            "timestamp": TIME.format(step),
            "log_id": f"l{step}",
            **({"config": {"lr": 0.1, "api_key": "hidden"}} if step == 0 else {}),
        }
        for step in range(10)
    ]
    post(site, token, "bulk_log", logs=logs)
    system = [
        {
            **entry,
            "metrics": {"cpu": 5.0, "ram": 6.0},
            "timestamp": TIME.format(20 + i),
            "log_id": f"s{i}",
        }
        for i in range(3)
    ]
    post(site, token, "bulk_log_system", logs=system)
    alert = {**entry, "title": "Hot", "text": "80 degrees", "level": "error", "step": 9}
    post(site, token, "bulk_alert", alerts=[{**alert, "timestamp": TIME.format(30)}])
    return "r1"


def test_the_stock_command_line_lists_and_gets(
    site: str, token: str, logged: str, tmp_path: Path
) -> None:
    def trackio(*words: str) -> Any:
        address = client_environment(site, token, tmp_path)["TRACKIO_SERVER_URL"]
        done = subprocess.run(
            [sys.executable, "-m", "trackio.cli", *words, "--json", "--space", address],
            env={**client_environment(site, token, tmp_path), "PATH": os.environ["PATH"]},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    assert trackio("list", "projects")["projects"] == ["sums"]
    assert trackio("list", "runs", "--project", "sums")["runs"] == ["first"]
    summary = trackio("get", "run", "--project", "sums", "--run", "first")
    assert (summary["num_logs"], summary["last_step"]) == (10, 9)
    assert summary["metrics"] == ["acc", "loss"]
    arguments = ("--project", "sums", "--run", "first", "--metric", "loss")
    values = trackio("get", "metric", *arguments, "--around", "5", "--window", "1")["values"]
    assert [(value["step"], value["value"]) for value in values] == [
        (4, 1 / 5),
        (5, 1 / 6),
        (6, 1 / 7),
    ]


def test_every_call_answers_about_a_run(site: str, token: str, logged: str) -> None:
    run = {"project": "sums", "run": "first"}

    def ask(call: str, **arguments: Any) -> Any:
        return post(site, token, call, **{**run, **arguments})

    assert ask("get_metrics_for_run") == ["acc", "loss"]
    assert ask("get_metrics_for_run", run=None, run_id="r1") == ["acc", "loss"]
    assert ask("get_system_metrics_for_run") == ["cpu", "ram"]
    assert ask("get_run_configs") == {"first": {"lr": 0.1, "api_key": "***"}}
    assert ask("get_project_summary")["last_activity"] == 9
    values = ask("get_metric_values", metric_name="loss", max_points=3)
    assert [value["step"] for value in values] == [0, 4, 9]
    at_time = ask("get_metric_values", metric_name="loss", at_time=TIME.format(3), window=1)
    assert [value["step"] for value in at_time] == [2, 3, 4]
    assert ask("get_metric_values", metric_name="loss", step=3) == [
        {"timestamp": TIME.format(3), "step": 3, "value": 0.25}
    ]
    assert {name: len(rows) for name, rows in ask("get_snapshot", step=9).items()} == {
        "acc": 1,
        "loss": 1,
    }
    logs = ask("get_logs")
    assert len(logs) == 10
    assert logs[9] == {"loss": 0.1, "acc": 0.5, "step": 9, "timestamp": TIME.format(9)}
    assert ask("get_system_logs")[0] == {"cpu": 5, "ram": 6, "timestamp": TIME.format(20)}
    (alert,) = ask("get_alerts", level="error", since=TIME.format(29))
    assert (alert["run"], alert["title"], alert["step"]) == ("first", "Hot: 80 degrees", 9)
    assert ask("get_alerts", level="warn") == [] == ask("get_alerts", run="other")
    assert ask("get_alerts", since=TIME.format(31)) == []


def test_a_resumed_run_counts_its_own_logs(site: str, token: str, logged: str) -> None:
    """Also logs without numbers, and values that another process logs again."""
    entry = {"project": "sums", "run": "first", "run_id": "r1"}
    again = {"config": {"_Created": "2"}, "log_id": "a"}
    post(
        site,
        token,
        "bulk_log",
        logs=[{**entry, "metrics": {"note": "x"}, "config": {"_Created": "1"}, "log_id": "n"}],
    )
    post(site, token, "bulk_log", logs=[{**entry, "metrics": {"loss": 5.0}, "step": 3, **again}])
    summary = post(site, token, "get_run_summary", project="sums", run="first")
    assert (summary["num_logs"], summary["last_step"]) == (12, 3)
    assert [
        value["step"]
        for value in post(
            site, token, "get_metric_values", project="sums", run="first", metric_name="loss"
        )
    ] == [0, 1, 2, 3]


def test_what_does_not_exist_has_no_values(site: str, token: str, logged: str) -> None:
    for call in ("get_metrics_for_run", "get_logs", "get_system_logs", "get_metric_values"):
        assert post(site, token, call, project="sums", run="nothing", metric_name="x") == []
    assert post(site, token, "get_run_summary", project="nothing", run="first")["num_logs"] == 0


def test_a_run_is_resumed_by_its_whole_name(site: str, token: str) -> None:
    """Longer than the name that pages show."""
    names = [f"{'x' * 130}{end}" for end in "ab"]
    for name in names:
        entry = {"project": "sums", "run": name, "run_id": f"id {name[-1]}"}
        post(site, token, "bulk_log", logs=[{**entry, "metrics": {"loss": 1.0}, "step": 7}])
    runs = post(site, token, "get_runs_for_project", project="sums")
    assert [(run["id"], run["name"]) for run in runs] == [
        (f"id {name[-1]}", name) for name in names
    ]
    summary = post(site, token, "get_run_summary", project="sums", run=names[0])
    assert summary["run_id"] == "id a"


def test_nothing_of_another_team_is_read(site: str, token: str, logged: str) -> None:
    theirs = Team.objects.create(name="Mash", slug="mash")
    charlie = member("charlie@mash.example", "Charlie", theirs, Role.ADMIN)
    stranger = api_tokens.make(theirs, "t", Scope.READ, charlie)
    arguments = {"project": "sums", "run": "first", "run_id": "r1", "metric_name": "loss"}
    for _, path in ROUTES:
        answer = post(site, stranger, path.removeprefix("/api/"), **arguments)
        text = json.dumps(answer)
        assert "loss" not in text and "Hot" not in text and "cpu" not in text, path
        assert "created_at" not in text, path


@pytest.mark.parametrize(
    "arguments",
    [
        {"step": "x"},
        {"around_step": 10**400, "window": 1},
        {"around_step": 1, "window": "NaN"},
        {"at_time": "yesterday", "window": 1},
        {"project": {"a": 1}},
    ],
)
def test_an_argument_that_makes_no_sense_is_refused(
    site: str, token: str, logged: str, arguments: dict[str, Any]
) -> None:
    answer = httpx2.post(
        f"{site}/api/get_metric_values",
        headers={"x-trackio-write-token": token},
        json={"kwargs": {"project": "sums", "run": "first", "metric_name": "loss", **arguments}},
    )
    assert answer.status_code == 400 and answer.json()["error"]
