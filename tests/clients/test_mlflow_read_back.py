"""What MLflow's clients read back, delete, restore and rename."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.clients.conftest import Script, only_run
from tests.clients.test_mlflow import Caller, caller, point, run_id
from tests.webapp.conftest import member
from webapp.access import api_tokens
from webapp.access.models import Role, Scope, Team
from webapp.clients.models import Project
from webapp.runs.models import Run

__all__ = ["caller", "run_id"]
pytestmark = pytest.mark.django_db(transaction=True)


def test_a_stock_client_finds_the_best_run_and_tidies_up(
    site: str, token: str, script: Script
) -> None:
    output = script("mlflow_read.py", site, token)

    lines = [line.split(": ", 1) for line in output.splitlines() if ": " in line]
    values = {name: json.loads(text) for name, text in lines if text[:1] in '["0123456789tf'}
    assert values["best"] == ["best"]
    # NaN comes behind every number.
    assert values["by loss"] == ["best", "slow", "broken"]
    assert values["pages"] == [2, 2, 1]
    assert values["user"] and values["long"] and values["long found"] == ["xxxxxx"]
    assert values["data"] == ["sums-train", "abc", "training"]
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d+", values["unnamed"])
    assert values["deleted"] == ["deleted"] and not values["active"]
    assert values["deleted only"] == ["slow"] and values["all"] == 5 and values["restored"] == []
    assert values["experiment"] == ["differences", {"goal": "sums"}]
    assert values["named"] == ["differences"]
    assert values["experiments"] == [] and values["gone"] == ["differences"]
    assert values["hidden runs"] and values["back"] == 5
    refusals = [text for name, text in lines if name == "refused"]
    assert len(refusals) == 2 and all("deleted" in refusal for refusal in refusals)
    assert values["models"] == [["adder", "READY", True, "small"]]
    assert not values["model tags"] and values["models left"] == ["other"]


def test_metrics_are_read_back_with_step_and_time(caller: Caller, run_id: str) -> None:
    points = [point(step=step, timestamp=1001 + step, value=step / 2) for step in (3, 1, 2)]
    caller.post("runs/log-batch", {"run_id": run_id, "metrics": points})
    caller.post("runs/log-metric", {"run_id": run_id, **point(key="acc", step=-4, value="NaN")})
    run = caller.get("runs/get", run_id=run_id).json()["run"]
    assert run["data"]["metrics"] == [
        {"key": "acc", "value": "NaN", "timestamp": 1000, "step": -4},
        {"key": "loss", "value": 1.5, "timestamp": 1004, "step": 3},
    ]
    assert run["info"]["start_time"] == 5
    assert {"key": "mlflow.runName", "value": "r"} in run["data"]["tags"]


def test_a_data_set_is_read_back_with_its_schema(caller: Caller, run_id: str) -> None:
    data_set = {
        "name": "sums",
        "digest": "abc",
        "source_type": "local",
        "source": "/data/sums",
        "schema": '{"columns": ["a"]}',
        "profile": "x" * 5000,
    }
    context = [{"key": "mlflow.data.context", "value": "training"}]
    caller.post(
        "runs/log-inputs", {"run_id": run_id, "datasets": [{"dataset": data_set, "tags": context}]}
    )
    (data_input,) = caller.get("runs/get", run_id=run_id).json()["run"]["inputs"]["dataset_inputs"]
    # Half a profile would be no JSON, so that a long one is left out.
    assert data_input == {
        "dataset": {name: value for name, value in data_set.items() if name != "profile"},
        "tags": context,
    }


def test_a_renamed_run_has_one_name(caller: Caller, run_id: str) -> None:
    caller.post("runs/set-tag", {"run_id": run_id, "key": "mlflow.runName", "value": "second"})
    caller.post("runs/update", {"run_id": run_id, "run_name": "third"})
    run = caller.get("runs/get", run_id=run_id).json()["run"]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert run["info"]["run_name"] == tags["mlflow.runName"] == "third"
    for filter, count in (
        ("run_name = 'third'", 1),
        ("tags.mlflow.runName = 'third'", 1),
        ("tags.mlflow.runName = 'second'", 0),
    ):
        answer = caller.post("runs/search", {"experiment_ids": ["0"], "filter": filter})
        assert len(answer.json()["runs"]) == count, filter


def test_histories_of_several_runs_are_read_at_once(caller: Caller) -> None:
    ids = [
        caller.post("runs/create", {"run_name": name}).json()["run"]["info"]["run_id"]
        for name in ("a", "b")
    ]
    for number, id in enumerate(ids):
        points = [point(step=step, value=float(number)) for step in range(3)]
        caller.post("runs/log-batch", {"run_id": id, "metrics": points})

    def bulk(*run_ids: str, **query: str) -> Any:
        pairs = [("metric_key", "loss"), *query.items(), *(("run_id", id) for id in run_ids)]
        return caller.get_pairs("metrics/get-history-bulk", pairs)

    metrics = bulk(*ids, "nothing").json()["metrics"]
    assert [(m["run_id"], m["step"], m["value"]) for m in metrics] == [
        (id, step, float(ids.index(id))) for id in sorted(ids) for step in range(3)
    ]
    assert len(bulk(*ids, max_results="4").json()["metrics"]) == 4
    for refused in (bulk(), bulk(*ids, max_results="0"), bulk(*["x"] * 101)):
        assert refused.status_code == 400 and refused.json()["message"]


def test_a_deleted_run_keeps_what_arrives_late(caller: Caller, run_id: str) -> None:
    caller.post("runs/delete", {"run_id": run_id})
    caller.post("runs/log-metric", {"run_id": run_id, **point()})
    caller.post("runs/restore", {"run_id": run_id})
    run = caller.get("runs/get", run_id=run_id).json()["run"]
    assert run["info"]["lifecycle_stage"] == "active" and len(run["data"]["metrics"]) == 1


def test_a_run_of_a_deleted_experiment_comes_back_with_it(caller: Caller, run_id: str) -> None:
    experiment = str(Project.objects.get().pk)
    caller.post("experiments/delete", {"experiment_id": experiment})
    answers = [
        caller.post("experiments/delete", {"experiment_id": experiment}),
        caller.post("experiments/update", {"experiment_id": experiment, "new_name": "x"}),
        caller.post("runs/restore", {"run_id": run_id}),
        caller.post("runs/create", {"experiment_id": experiment}),
    ]
    assert all(a.status_code == 400 and "estore" in a.json()["message"] for a in answers)
    stage = caller.get("runs/get", run_id=run_id).json()["run"]["info"]["lifecycle_stage"]
    caller.post("experiments/restore", {"experiment_id": experiment})
    after = caller.get("runs/get", run_id=run_id).json()["run"]["info"]["lifecycle_stage"]
    assert (stage, after) == ("deleted", "active")


def test_an_experiment_takes_no_name_of_another(caller: Caller) -> None:
    for name in ("a", "b"):
        caller.post("experiments/create", {"name": name})
    answer = caller.post(
        "experiments/update",
        {"experiment_id": str(Project.objects.get(name="a").pk), "new_name": "b"},
    )
    assert answer.json()["error_code"] == "RESOURCE_ALREADY_EXISTS"
    assert set(Project.objects.values_list("name", flat=True)) == {"a", "b"}


def test_experiments_are_filtered_and_ordered(caller: Caller) -> None:
    for name, value in (("sums", "x"), ("Sums too", "y"), ("other", "x")):
        caller.post("experiments/create", {"name": name, "tags": [{"key": "t", "value": value}]})

    def found(filter: str, *order_by: str) -> list[str]:
        body = {"filter": filter, "order_by": order_by}
        answer = caller.post("experiments/search", body)
        return [experiment["name"] for experiment in answer.json()["experiments"]]

    assert found("name ILIKE 'sums%'", "name ASC") == ["Sums too", "sums"]
    assert found("name LIKE 'sums%'") == ["sums"]
    assert found("tags.t = 'x' AND name != 'sums'") == ["other"]
    assert found("tags.t IS NULL") == []
    assert found("creation_time > 0", "name DESC") == ["sums", "other", "Sums too"]
    assert len(caller.get("experiments/search", max_results="2").json()["experiments"]) == 2


def test_nothing_of_another_team_is_read_changed_or_deleted(
    site: str, caller: Caller, run_id: str
) -> None:
    project = Project.objects.get()
    caller.post("runs/log-metric", {"run_id": run_id, **point()})
    caller.post("logged-models", {"source_run_id": run_id, "name": "m"})
    theirs = Team.objects.create(name="Mash", slug="mash")
    charlie = member("charlie@mash.example", "Charlie", theirs, Role.ADMIN)
    stranger = Caller(site, api_tokens.make(theirs, "t", Scope.LOG, charlie))

    experiment = {"experiment_id": str(project.pk)}
    for path, body in (
        ("runs/delete", {"run_id": run_id}),
        ("runs/restore", {"run_id": run_id}),
        ("experiments/update", {**experiment, "new_name": "x"}),
        ("experiments/delete", experiment),
        ("experiments/restore", experiment),
        ("experiments/delete-experiment-tag", {**experiment, "key": "t"}),
        ("runs/search", {"experiment_ids": [str(project.pk)]}),
        ("logged-models/search", {"experiment_ids": [str(project.pk)]}),
    ):
        answer = stranger.post(path, body)
        assert answer.status_code == 404, (path, answer.text)
    bulk = stranger.get("metrics/get-history-bulk", run_id=run_id, metric_key="loss")
    assert bulk.json() == {"metrics": []}
    searched = stranger.post("runs/search", {"experiment_ids": ["0"], "filter": "metrics.loss > 0"})
    assert searched.json()["runs"] == []
    assert stranger.post("experiments/search").json()["experiments"] == [
        stranger.get("experiments/get", experiment_id="0").json()["experiment"]
    ]
    assert Run.objects.get(public_id=run_id).archived_at is None


def test_a_refusal_names_the_path_that_was_asked_for(caller: Caller) -> None:
    answers = [
        caller.post("logged-models/m-x-0"),
        caller.post("logged-models/m-x-0/artifacts"),
        caller.get("logged-models/search/more"),
        caller.get("runs/nothing"),
    ]
    for answer in answers:
        assert answer.status_code in (404, 405) and "{" not in answer.json()["message"]


def test_experiments_and_runs_are_found_page_by_page(caller: Caller) -> None:
    ids = {
        caller.post("experiments/create", {"name": f"e{i}"}).json()["experiment_id"]
        for i in range(3)
    }
    for id in ids:
        for name in ("one", "two"):
            caller.post("runs/create", {"experiment_id": id, "run_name": name})
    first_page = caller.post("experiments/search", {"max_results": 2}).json()
    second_page = caller.post(
        "experiments/search", {"max_results": 2, "page_token": first_page["next_page_token"]}
    ).json()
    assert {
        experiment["experiment_id"]
        for experiment in first_page["experiments"] + second_page["experiments"]
    } == ids
    answer = caller.post(
        "runs/search",
        {
            "experiment_ids": list(ids),
            "filter": "run_name != 'two'",
            "order_by": ["start_time ASC"],
        },
    ).json()
    assert [run["info"]["run_name"] for run in answer["runs"]] == ["one"] * 3


def test_an_and_inside_of_quotes_belongs_to_the_value(caller: Caller, run_id: str) -> None:
    caller.post("runs/log-parameter", {"run_id": run_id, "key": "x", "value": "a and b"})
    experiments = [str(only_run().origin.project_id)]
    for filter, count in (
        ("params.x = 'a and b' and status = 'RUNNING'", 1),
        ("params.x = 'a' AND status = 'RUNNING'", 0),
    ):
        answer = caller.post(
            "runs/search", {"experiment_ids": experiments, "filter": filter}
        ).json()
        assert len(answer.get("runs", [])) == count
    for filter in (
        "params.x = 'a'and status = 'RUNNING'",
        "params.x = 'a' and",
        "params.x = 'a' or status = 'RUNNING'",
    ):
        assert (
            caller.post(
                "runs/search", {"experiment_ids": experiments, "filter": filter}
            ).status_code
            == 400
        )


@pytest.mark.parametrize("size", [10, 100, 500])
def test_batches_of_load_tests_are_logged_found_and_read_at_once(caller: Caller, size: int) -> None:
    """As FastTrackML's k6 scripts ask: create, log, batches, search, histories in bulk."""
    ids = []
    for number in range(2):
        created = caller.post("runs/create", {"experiment_id": "0", "user_id": "k6"})
        ids.append(created.json()["run"]["info"]["run_id"])
        metrics = [
            point(key=f"m{index % 10}", step=index // 10, value=float(number))
            for index in range(size)
        ]
        params = [{"key": f"p{index}", "value": str(number)} for index in range(min(size, 100))]
        body = {"run_id": ids[-1], "metrics": metrics, "params": params}
        assert caller.post("runs/log-batch", body).json() == {}
    found = caller.post(
        "runs/search",
        {"experiment_ids": ["0"], "filter": "metrics.m0 > 0.5 AND params.p9 = '1'"},
    ).json()["runs"]
    assert [run["info"]["run_id"] for run in found] == ids[1:]
    assert (len(found[0]["data"]["metrics"]), found[0]["info"]["user_id"]) == (10, "k6")
    query = [("metric_key", "m3"), *(("run_id", id) for id in ids)]
    history = caller.get_pairs("metrics/get-history-bulk", query).json()["metrics"]
    assert len(history) == 2 * size // 10
