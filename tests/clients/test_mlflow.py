"""The stock MLflow client logs here unchanged, and what others post as MLflow is answered as MLflow
would.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.utils import timezone

from tests.clients.conftest import SCRIPTS, Script, client_environment, only_run
from tests.clients.test_trackio import curve
from webapp.api.mlflow_types import Metric, logs
from webapp.clients.limits import MAX_PARAMS
from webapp.clients.models import Origin
from webapp.runs.models import Event, Run, State
from webapp.series import series_store

pytestmark = pytest.mark.django_db(transaction=True)
http = httpx2.Client()


class Caller:
    """Posts and gets below MLflow's address with a token."""

    def __init__(self, site: str, token: str) -> None:
        self.base, self.headers = f"{site}/api/2.0/mlflow/", {"Authorization": f"Bearer {token}"}

    def post(self, path: str, body: Any = None) -> httpx2.Response:
        return http.post(self.base + path, headers=self.headers, json=body or {})

    def patch(self, path: str, body: Any = None) -> httpx2.Response:
        return http.patch(self.base + path, headers=self.headers, json=body or {})

    def get(self, path: str, **query: str) -> httpx2.Response:
        return self.get_pairs(path, [*query.items()])

    def get_pairs(self, path: str, query: Sequence[tuple[str, str]]) -> httpx2.Response:
        """Get with parameters that may come several times."""
        return http.get(
            self.base + path, headers=self.headers, params=httpx2.QueryParams(tuple(query))
        )


@pytest.fixture
def caller(site: str, token: str) -> Caller:
    return Caller(site, token)


@pytest.fixture
def run_id(caller: Caller) -> str:
    answer = caller.post(
        "runs/create",
        {
            "experiment_id": "0",
            "run_name": "r",
            "start_time": 5,
            "tags": [{"key": "a", "value": "b"}],
        },
    )
    return str(answer.json()["run"]["info"]["run_id"])


def point(**changes: Any) -> dict[str, Any]:
    return {"key": "loss", "value": 1.5, "timestamp": 1000, "step": 1, **changes}


def test_a_stock_script_becomes_a_run_and_reads_it_back(
    site: str, token: str, script: Script, tmp_path: Path
) -> None:
    output = script("mlflow_run.py", site, token)

    run = only_run()
    assert (run.name, run.source, run.state, run.origin.project.name) == (
        "first",
        Run.Source.CLIENT,
        State.COMPLETED,
        "sums",
    )
    losses = curve(run, "loss")
    assert list(losses) == list(range(61)) and losses[59] == 1 / 60 and math.isnan(losses[60])
    assert curve(run, "eval/kl")[29] == 14.5 and curve(run, "gain") == {60: math.inf}
    assert run.origin.params == {"lr": "0.1", "model": "small", "seed": "1"}
    assert (run.origin.tags["team"], run.origin.tags["note"]) == ("b", "kept")
    assert "history: [(0, 1.0), (1, 0.5)" in output and "61" in output
    assert 'found: ["first", "small", "kept", 14.5]' in output
    assert "kept: ['hello.txt']" in output
    assert not (tmp_path / "mlartifacts").exists() and run.files.get().path == "hello.txt"


@pytest.mark.parametrize("client", ["trackio", "mlflow"])
def test_a_run_whose_process_was_killed_goes_on_and_replaces_what_it_does_again(
    site: str, token: str, script: Script, tmp_path: Path, client: str
) -> None:
    command = [sys.executable, str(SCRIPTS / "killed.py"), client, "0"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=client_environment(site, token, tmp_path)
    ) as process:
        while not (Run.objects.exists() and len(curve(only_run(), "loss")) >= 8):
            assert process.poll() is None
            time.sleep(0.1)
        process.kill()
    run = only_run()
    Run.objects.update(last_event_at=timezone.now() - timedelta(seconds=10))
    before = curve(run, "loss")
    script("killed.py", site, token, client, run.public_id, "4")

    run = only_run()
    assert run.attempt == 2 and curve(run, "loss") == {
        **{step: before[step] for step in range(4)},
        **{step: step + 0.5 for step in range(4, 9)},
    }
    assert len(list(series_store.export_rows(run, abandoned=True))) == len(before) + 5


def test_trainers_log_here_unchanged_with_their_last_figures_and_their_files(
    site: str, token: str, script: Script
) -> None:
    """Files are checkpoints as models of MLflow's (HF_MLFLOW_LOG_ARTIFACTS)."""
    variables = {
        "MLFLOW_EXPERIMENT_NAME": "sums",
        "HF_MLFLOW_LOG_ARTIFACTS": "1",
        "MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "1",
    }
    script("trainer_run.py", site, token, "trackio", "mlflow", **variables)

    for run in Run.objects.all():
        loss = {"trackio": "train/loss", "mlflow": "loss"}[run.origin.client]
        assert (run.name, run.origin.project.name, list(curve(run, loss))) == (
            "line",
            "sums",
            [1, 2, 3, 4, 5, 6],
        )
        assert str(run.origin.params["max_steps"]) == "6"
    # A second training under one name replaces the curve; the first one is still read.
    again = Run.objects.get(origin__client="trackio")
    steps = [row[1] for row in series_store.export_rows(again, ["train/loss"], abandoned=True)]
    line = Event.objects.get(run=again, type="log").payload["message"]
    assert again.attempt == 2 and sorted(steps) == sorted([*range(1, 7)] * 2)
    assert "The client logged step 1 again." in line and "a link to all values" in line
    run = Run.objects.get(origin__client="mlflow")
    # What trainers log when they have ended; their callback for Trackio leaves it out.
    assert {"train_runtime", "train_loss", "total_flos"} <= set(series_store.keys(run))
    assert (
        run.state == State.COMPLETED
        and json.loads(run.origin.tags["logged_model.0"])["name"] == "checkpoint-6"
    )
    model_files = {"MLmodel", "artifacts/checkpoint-6/model.safetensors"}
    assert model_files <= {
        path.removeprefix("logged_models/0/artifacts/")
        for path in run.files.values_list("path", flat=True)
    }


def test_runs_in_runs_asynchronous_logs_and_data_frames_are_as_in_mlflow(
    site: str, token: str, script: Script
) -> None:
    output = script("mlflow_fluent.py", site, token)

    lines = [line.split(": ", 1) for line in output.splitlines() if ": " in line]
    said = {name: json.loads(text) for name, text in lines if text[:1] in '["t'}
    assert said["parent"] is True
    assert said["children"] == [["child 1", 0.0, "0.1"], ["child 0", 1.0, "0.0"]]
    assert (said["broken"], said["again"]) == ("FAILED", "FINISHED")
    name, status, metrics, params = said["last"]
    assert (name, status, params) == ("asynchronous", "FINISHED", 92)
    assert metrics == {"loss": 29.0, "kl": 249.5} and said["tags"] == ["1", "2"]
    assert said["history"] == [500, 499, 249.5, 1499]
    refusals = [text for name, text in lines if name == "refused"]
    assert len(refusals) == 4
    run = Run.objects.get(name="asynchronous")
    assert list(curve(run, "loss")) == list(range(30))
    parent = Run.objects.get(name="parent")
    assert parent.origin.tags["mlflow.note.content"] == "a sweep"
    assert parent.origin.tags["a"] == "1" and "b" not in parent.origin.tags


def test_a_result_that_is_logged_after_the_end_abandons_no_curve(
    caller: Caller, run_id: str
) -> None:
    """At step 0, as MLflow's client does where none is named; also when the result is logged
    again.
    """
    caller.post(
        "runs/log-batch", {"run_id": run_id, "metrics": [point(step=step) for step in range(10)]}
    )
    for value in (0.5, 0.75):
        caller.post("runs/update", {"run_id": run_id, "status": "FINISHED"})
        caller.post("runs/update", {"run_id": run_id, "status": "RUNNING"})
        caller.post(
            "runs/log-metric",
            {
                "run_id": run_id,
                **point(key="test", value=value, step=0, timestamp=round(value * 1e6)),
            },
        )
    run = only_run()
    assert run.attempt == 1 and len(curve(run, "loss")) == 10 and curve(run, "test") == {0: 0.75}
    caller.post("runs/log-metric", {"run_id": run_id, **point(step=4, value=9.0)})
    assert curve(only_run(), "loss") == {**dict.fromkeys(range(4), 1.5), 4: 9.0} and curve(
        only_run(), "test"
    ) == {0: 0.75}


def taken_up_again(caller: Caller, run_id: str) -> None:
    for status in ("FINISHED", "RUNNING"):
        caller.post("runs/update", {"run_id": run_id, "status": status})


@pytest.mark.parametrize("steps", [(100, 50), (50, 100), (100, 50, 75)])
def test_evaluations_that_are_logged_afterwards_in_any_order_abandon_no_curve(
    caller: Caller, run_id: str, steps: tuple[int, ...]
) -> None:
    caller.post(
        "runs/log-batch", {"run_id": run_id, "metrics": [point(step=step) for step in range(101)]}
    )
    taken_up_again(caller, run_id)
    for step in steps:
        caller.post(
            "runs/log-batch", {"run_id": run_id, "metrics": [point(key="eval/acc", step=step)]}
        )
    run = only_run()
    assert (
        run.attempt == 1
        and len(curve(run, "loss")) == 101
        and sorted(curve(run, "eval/acc")) == sorted(steps)
    )


def test_each_curve_tells_by_itself_whether_it_goes_back(caller: Caller, run_id: str) -> None:
    """The figures of the machine go on, and then the loss goes back."""
    points = [
        *(point(step=step) for step in range(101)),
        *(point(key="system/cpu", step=step) for step in range(10)),
    ]
    caller.post("runs/log-batch", {"run_id": run_id, "metrics": points})
    taken_up_again(caller, run_id)
    caller.post("runs/log-batch", {"run_id": run_id, "metrics": [point(key="system/cpu", step=10)]})
    for steps in (range(51, 61), range(61, 71)):
        caller.post(
            "runs/log-batch",
            {"run_id": run_id, "metrics": [point(step=step, value=9.0) for step in steps]},
        )
    run = only_run()
    assert curve(run, "loss") == {
        **dict.fromkeys(range(51), 1.5),
        **dict.fromkeys(range(51, 71), 9.0),
    }
    assert list(curve(run, "system/cpu")) == list(range(11)) and run.attempt == 2


def test_a_run_all_of_whose_curves_go_on_is_not_watched_any_longer(
    caller: Caller, run_id: str
) -> None:
    caller.post(
        "runs/log-batch", {"run_id": run_id, "metrics": [point(step=step) for step in range(5)]}
    )
    taken_up_again(caller, run_id)
    caller.post("runs/log-batch", {"run_id": run_id, "metrics": [point(key="new", step=1)]})
    assert Origin.objects.get().resuming
    caller.post("runs/log-batch", {"run_id": run_id, "metrics": [point(step=5)]})
    assert not Origin.objects.get().resuming and len(curve(only_run(), "loss")) == 6


def test_what_a_client_says_of_a_runs_time_and_tags_is_kept(caller: Caller, run_id: str) -> None:
    caller.post("runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": 65_000})
    run = only_run()
    assert run.finished_at is not None and run.started_at is not None
    assert (run.started_at.timestamp(), run.finished_at.timestamp()) == (0.005, 65.0)
    assert caller.post("runs/delete-tag", {"run_id": run_id, "key": "a"}).json() == {}
    assert caller.post("runs/delete-tag", {"run_id": run_id, "key": "a"}).status_code == 404
    experiment_id = caller.post(
        "experiments/create", {"name": "tagged", "tags": [{"key": "a", "value": "1"}]}
    ).json()["experiment_id"]
    caller.post(
        "experiments/set-experiment-tag", {"experiment_id": experiment_id, "key": "b", "value": "2"}
    )
    experiment = caller.get("experiments/get", experiment_id=experiment_id).json()["experiment"]
    assert experiment["tags"] == [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]


def test_a_run_has_bounds_and_mlflows_client_hears_of_them(caller: Caller, run_id: str) -> None:
    Origin.objects.update(params={f"p{number}": "1" for number in range(MAX_PARAMS)})
    answer = caller.post("runs/log-parameter", {"run_id": run_id, "key": "more", "value": "1"})
    assert answer.status_code == 400 and "5,000 parameters" in answer.json()["message"]
    assert (
        caller.post("runs/log-parameter", {"run_id": run_id, "key": "p1", "value": "1"}).status_code
        == 200
    )


def test_a_parameter_that_comes_twice_in_a_batch_with_two_values_is_refused(
    caller: Caller, run_id: str
) -> None:
    twice = [{"key": "p", "value": "1"}, {"key": "p", "value": "2"}]
    answer = caller.post("runs/log-batch", {"run_id": run_id, "params": twice})
    assert (
        answer.status_code == 400
        and "'1' and as '2'" in answer.json()["message"]
        and "p" not in Origin.objects.get().params
    )


def test_a_model_takes_no_place_of_another(caller: Caller, run_id: str) -> None:
    def made(name: str) -> str:
        return str(
            caller.post("logged-models", {"source_run_id": run_id, "name": name}).json()["model"][
                "info"
            ]["model_id"]
        )

    first, second = made("a"), made("b")
    caller.post("runs/delete-tag", {"run_id": run_id, "key": "logged_model.0"})
    assert len({first, second, made("c")}) == 3


def test_a_model_is_known_by_its_run(caller: Caller, run_id: str) -> None:
    created = caller.post(
        "logged-models",
        {"source_run_id": run_id, "name": "m", "tags": [{"key": "a", "value": "b"}]},
    ).json()["model"]["info"]
    id = created["model_id"]
    assert (
        created["artifact_uri"].endswith(f"/{run_id}/logged_models/0/artifacts")
        and created["status"] == "LOGGED_MODEL_PENDING"
    )
    caller.patch(f"logged-models/{id}", {"model_id": id, "status": "LOGGED_MODEL_READY"})
    caller.patch(f"logged-models/{id}/tags", {"tags": [{"key": "c", "value": "d"}]})
    updated = caller.get(f"logged-models/{id}").json()["model"]["info"]
    assert (updated["status"], updated["name"]) == ("LOGGED_MODEL_READY", "m")
    assert updated["tags"] == [{"key": "a", "value": "b"}, {"key": "c", "value": "d"}]
    assert (
        caller.get(f"logged-models/m-{run_id}-1").status_code == 404
        and caller.get("logged-models/x").status_code == 404
    )
    orphan = caller.post("logged-models", {"name": "m"})
    assert orphan.status_code == 400 and "start_run" in orphan.json()["message"]


def test_points_count_once_by_their_content(caller: Caller, run_id: str) -> None:
    batch = {
        "run_id": run_id,
        "metrics": [point(step=step, timestamp=1000 + step) for step in range(10)],
    }
    for _ in range(3):
        assert caller.post("runs/log-batch", batch).json() == {}
    changed_point = point(step=3, timestamp=1003, value=2.5)
    assert caller.post("runs/log-metric", {"run_uuid": run_id, **changed_point}).json() == {}
    first_page = caller.get(
        "metrics/get-history", run_id=run_id, metric_key="loss", max_results="8"
    ).json()
    second_page = caller.get(
        "metrics/get-history",
        run_id=run_id,
        metric_key="loss",
        page_token=first_page["next_page_token"],
    ).json()
    assert sorted(
        (metric["step"], metric["value"])
        for metric in first_page["metrics"] + second_page["metrics"]
    ) == sorted([(step, 1.5) for step in range(10)] + [(3, 2.5)])


BROKEN: list[tuple[str, Any, str]] = [
    ("runs/log-batch", {"metrics": [point()] * 1001}, "metrics"),
    (
        "runs/log-batch",
        {"metrics": [point()] * 950, "params": [{"key": "a", "value": "b"}] * 51},
        "1000",
    ),
    ("runs/log-batch", {"params": [{"key": "a", "value": "b"}] * 101}, "params"),
    ("runs/log-batch", {"metrics": [point(key="k" * 251)]}, "metrics.0.key"),
    ("runs/log-batch", {"metrics": [point(value="many")]}, "metrics.0.value"),
    ("runs/log-batch", {"metrics": [point(timestamp=-1)]}, "metrics.0.timestamp"),
    ("runs/log-batch", {"metrics": [point(step=2**70)]}, "metrics.0.step"),
    ("runs/log-metric", {"key": "a"}, "value"),
    (
        "runs/log-batch",
        {"params": [{"key": "a", "value": "1"}], "tags": [{"key": "t", "value": "x" * 1_000_000}]},
        "1000000 bytes",
    ),
    ("runs/update", {"status": "DANCING"}, "status"),
    ("experiments/create", {"name": "Default"}, "exists"),
    ("runs/search", {"experiment_ids": ["0"], "filter": "metrics.loss < 'low'"}, "a number"),
    ("runs/search", {"experiment_ids": ["0"], "filter": "params.lr < 1"}, "is text"),
    ("runs/search", {"experiment_ids": ["0"], "filter": "banana = 'x'"}, "start_time"),
    ("runs/search", {"experiment_ids": ["0"], "order_by": ["banana"]}, "start_time"),
    ("runs/search", {"experiment_ids": ["0"], "run_view_type": "SOME"}, "run_view_type"),
    ("experiments/search", {"filter": "metrics.loss < 1"}, "creation_time"),
    ("logged-models/search", {"datasets": [{"dataset_name": "d"}]}, "datasets"),
]


def test_a_batch_that_names_its_values_key_by_key_has_a_row_for_each_step() -> None:
    """Not one for each value, whatever their order; a value that comes twice is kept twice."""
    metrics: list[Metric] = [
        {"key": f"m{key}", "value": 10.0 * key + step, "timestamp": 1000, "step": step}
        for key in range(3)
        for step in range(2)
    ]
    assert [(log.step, log.values) for log in logs([*metrics, metrics[0]])] == [
        (0, {"m0": 0.0, "m1": 10.0, "m2": 20.0}),
        (1, {"m0": 1.0, "m1": 11.0, "m2": 21.0}),
        (0, {"m0": 0.0}),
    ]


def test_what_breaks_a_rule_is_refused_with_mlflows_code(caller: Caller, run_id: str) -> None:
    for path, body, where in BROKEN:
        answer = caller.post(path, {"run_id": run_id, **body})
        expected = (
            "RESOURCE_ALREADY_EXISTS" if path == "experiments/create" else "INVALID_PARAMETER_VALUE"
        )
        assert (answer.status_code, answer.json()["error_code"]) == (400, expected), (path, where)
        assert where in answer.json()["message"]
    assert not series_store.keys(only_run())


def test_what_is_not_there_is_said_so_with_mlflows_code(caller: Caller, run_id: str) -> None:
    answers = [
        caller.get("experiments/get-by-name", experiment_name="nothing"),
        caller.get("experiments/get", experiment_id="999999"),
        caller.get("experiments/get", experiment_id="x" * 30),
        caller.get("runs/get", run_id="nothing"),
        caller.get("metrics/get-history", run_id="nothing", metric_key="loss"),
        caller.post("runs/log-metric", {"run_id": "nothing", **point()}),
        caller.post("runs/create", {"experiment_id": "999999"}),
    ]
    assert {(answer.status_code, answer.json()["error_code"]) for answer in answers} == {
        (404, "RESOURCE_DOES_NOT_EXIST")
    }
    assert caller.get("runs/get").json()["error_code"] == "INVALID_PARAMETER_VALUE"


def test_a_parameter_keeps_its_first_value_and_a_tag_its_last(caller: Caller, run_id: str) -> None:
    for value in ("1", "1", "2"):
        answer = caller.post("runs/log-parameter", {"run_id": run_id, "key": "lr", "value": value})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    for value in ("1", "2"):
        caller.post("runs/set-tag", {"run_id": run_id, "key": "t", "value": value})
    caller.post("runs/set-tag", {"run_id": run_id, "key": "mlflow.runName", "value": "renamed"})
    run = only_run()
    assert (run.name, run.origin.params, run.origin.tags["t"]) == ("renamed", {"lr": "1"}, "2")


def test_late_values_of_a_finished_run_are_kept_and_leave_it_finished(
    caller: Caller, run_id: str
) -> None:
    caller.post("runs/update", {"run_id": run_id, "status": "FAILED", "end_time": 5})
    assert caller.post("runs/log-metric", {"run_id": run_id, **point()}).status_code == 200
    run = only_run()
    assert (run.state, curve(run, "loss")) == (State.FAILED, {1: 1.5})


def test_a_search_that_would_take_long_is_refused(caller: Caller) -> None:
    searches: list[dict[str, Any]] = [
        {"filter": "a" + " " * 4000 + "b"},
        {"filter": "params.a = 'b' and " * 400},
        {"experiment_ids": [str(number) for number in range(200)]},
        {"order_by": ["start_time"] * 11},
    ]
    for search in searches:
        answer = caller.post("runs/search", {"experiment_ids": ["0"], **search})
        assert (answer.status_code, answer.json()["error_code"]) == (
            400,
            "INVALID_PARAMETER_VALUE",
        ), search


def test_a_data_set_of_another_shape_is_refused(caller: Caller, run_id: str) -> None:
    for data_set in (
        {"dataset": [1, 2]},
        {"dataset": "x"},
        {"dataset": {}, "tags": {"a": 1}},
        {"tags": 5},
    ):
        answer = caller.post("runs/log-inputs", {"run_id": run_id, "datasets": [data_set]})
        assert (
            answer.status_code == 400 and "`dataset` with named facts" in answer.json()["message"]
        ), data_set
