"""Searches for runs find what MLflow finds: its own evaluation of a filter is the reference."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    RunData,
    RunInfo,
    RunInputs,
    RunTag,
)
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.utils.search_utils import SearchUtils

from tests.clients.test_mlflow import Caller, caller

__all__ = ["caller"]
pytestmark = pytest.mark.django_db(transaction=True)

METRICS: list[dict[str, float]] = [
    {"loss": 0.5, "eval/acc": 0.9},
    {"loss": math.nan, "eval/acc": 0.1},
    {"loss": math.inf},
    {"loss": -math.inf, "eval/acc": 0.9},
    {"eval/acc": -2.0},
    {"loss": 0.5, "eval/acc": 0.25, "0": 7.0},
    {"loss": 1.0},
    {},
]
PARAMS: list[dict[str, str]] = [
    {"lr": "0.1", "model": "small", "0": "first"},
    {"lr": "0.01", "model": "Small"},
    {"lr": "1e-3", "model": "big_one"},
    {"model": "100%"},
    {"lr": "0.1", "model": "a\\b"},
    {"lr": "", "model": "it's"},
    {"lr": "0.1"},
    {},
]
TAGS: list[dict[str, str]] = [{"team": "a"}, {"team": "b", "with space": "x"}, {}, {"team": "A"}]
STATUSES = ["FINISHED", "FAILED", "KILLED", None]


@pytest.fixture
def found(caller: Caller) -> tuple[Caller, list[MlflowRun]]:
    """A caller, and its runs as MLflow holds them."""
    for index, (metrics, params) in enumerate(zip(METRICS, PARAMS, strict=True)):
        _log(caller, index, metrics, params, TAGS[index % 4], STATUSES[index % 4])
    answer = caller.post("runs/search", {"experiment_ids": ["0"]}).json()
    return caller, [_entity(run) for run in answer["runs"]]


def _log(
    caller: Caller,
    index: int,
    metrics: dict[str, float],
    params: dict[str, str],
    tags: dict[str, str],
    status: str | None,
) -> None:
    created = caller.post(
        "runs/create",
        {
            "run_name": f"run {index}",
            "start_time": 1_700_000_000_000 + 1001 * (index * 5 % 8),
            "user_id": ("ada", "bob")[index % 2],
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        },
    )
    run_id = created.json()["run"]["info"]["run_id"]
    points = [
        {"key": key, "value": value if step else -5.0, "timestamp": step, "step": step}
        for key, number in metrics.items()
        for step, value in ((0, None), (3, number if math.isfinite(number) else str(number)))
    ]
    caller.post(
        "runs/log-batch",
        {
            "run_id": run_id,
            "metrics": [{**point, "value": _text(point["value"])} for point in points],
            "params": [{"key": key, "value": value} for key, value in params.items()],
        },
    )
    if index % 3 == 0:
        data_set = {"name": f"set{index}", "digest": "d1", "source_type": "s", "source": "x"}
        context = [{"key": "mlflow.data.context", "value": ("training", "test")[index % 2]}]
        caller.post(
            "runs/log-inputs",
            {"run_id": run_id, "datasets": [{"dataset": data_set, "tags": context}]},
        )
    if status:
        end = 1_700_000_100_000 + index
        caller.post("runs/update", {"run_id": run_id, "status": status, "end_time": end})


def _text(value: object) -> object:
    """Infinity and NaN as MLflow's clients write them in JSON."""
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(value), value)


def _entity(run: dict[str, Any]) -> MlflowRun:
    info, data = run["info"], run["data"]
    return MlflowRun(
        RunInfo(
            run_id=info["run_id"],
            experiment_id=info["experiment_id"],
            user_id=info["user_id"],
            status=info["status"],
            start_time=info["start_time"],
            end_time=info.get("end_time"),
            lifecycle_stage=info["lifecycle_stage"],
            artifact_uri=info["artifact_uri"],
            run_name=info["run_name"],
        ),
        RunData(
            [
                Metric(m["key"], float(m["value"]), m["timestamp"], m["step"])
                for m in data["metrics"]
            ],
            [Param(pair["key"], pair["value"]) for pair in data["params"]],
            [RunTag(pair["key"], pair["value"]) for pair in data["tags"]],
        ),
        RunInputs(
            [
                DatasetInput(
                    Dataset(**data_input["dataset"]),
                    [InputTag(tag["key"], tag["value"]) for tag in data_input["tags"]],
                )
                for data_input in run["inputs"]["dataset_inputs"]
            ]
        ),
    )


FIELDS = [
    *("metrics.loss", "metric.`eval/acc`", 'metrics."loss"', "metrics.absent", "metrics.`0`"),
    *("params.lr", "param.model", "parameters.`lr`", "params.absent", "params.`0`"),
    *("tags.team", "tag.`with space`", "tags.`mlflow.user`", "tags.mlflow.runName"),
    *("attributes.status", "status", "attr.run_name", "run_name", "`Run name`", "user_id"),
    *("start_time", "attributes.end_time", "created", "run.start_time", "artifact_uri"),
]
SIGNS = ["=", "!=", "<", "<=", ">", ">=", "LIKE", "ilike", "IN", "NOT IN"]
TEXTS = [
    *("0.1", "0.01", "", "small", "SMALL", "%small%", "_mall", "%", "100%", "a\\b", "a\\%", "it's"),
    *("a", "A", "x", "first", "FINISHED", "finished", "run 3", "run _", "ada", "training", "d1"),
    *("set0", "set%", "mlflow-artifacts:/%"),
]
NUMBERS = ["0.5", "1", "-2", "0", "7", ".25", "1e-3", "1700000002002", "1700000100003", "1.0"]
quoted = st.sampled_from(TEXTS).map(lambda text: f'"{text}"' if "'" in text else f"'{text}'")
lists = st.lists(quoted, min_size=1, max_size=3).map(lambda texts: f"({', '.join(texts)})")
numbers = st.sampled_from(NUMBERS)


@st.composite
def conditions(draw: st.DrawFn) -> str:
    """A condition that mostly fits its field."""
    field = draw(st.sampled_from(FIELDS))
    is_number = any(word in field for word in ("metric", "time", "created"))
    if is_number:
        sign, value = draw(st.sampled_from(SIGNS[:6])), draw(numbers)
    else:
        sign, value = draw(st.sampled_from(["=", "!=", "LIKE", "ilike"])), draw(quoted)
    match draw(st.integers(0, 11)):
        case 0:
            name = draw(st.sampled_from(["params.lr", "tags.team", "param.absent"]))
            return f"{name} {draw(st.sampled_from(['IS NULL', 'is not null']))}"
        case 1:
            name = draw(st.sampled_from(["run_id", "dataset.name", "datasets.digest"]))
            return f"{name} {draw(st.sampled_from(['IN', 'NOT IN']))} {draw(lists)}"
        case 2:
            name = draw(st.sampled_from(["dataset.name", "datasets.context"]))
            return f"{name} {draw(st.sampled_from(['=', '!=', 'LIKE']))} {draw(quoted)}"
        case 3:
            field = draw(st.sampled_from([*FIELDS, "banana", "a.b"]))
            return f"{field} {draw(st.sampled_from(SIGNS))} {draw(quoted | numbers | lists)}"
    return f"{field}{draw(st.sampled_from([' ', '  ']))}{sign} {value}"


orders = st.lists(
    st.tuples(st.sampled_from(FIELDS), st.sampled_from(["", " ASC", " desc"])).map("".join),
    max_size=2,
)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(conditions=st.lists(conditions(), max_size=3), order_by=orders)
def test_a_search_finds_what_mlflow_finds_in_its_order(
    found: tuple[Caller, list[MlflowRun]], conditions: list[str], order_by: list[str]
) -> None:
    caller, runs = found
    filter = " and ".join(conditions)
    answer = caller.post(
        "runs/search", {"experiment_ids": ["0"], "filter": filter, "order_by": order_by}
    )
    try:
        # MLflow stops at the first condition that is false: each is judged alone first.
        for condition in conditions:
            SearchUtils.filter(runs, condition)
        expected = SearchUtils.sort(SearchUtils.filter(runs, filter), order_by)
    except (MlflowException, ValueError, AttributeError, TypeError):
        # Some that MLflow refuses is understood here, such as IN of any text.
        event("refused by MLflow")
        assert answer.status_code in (200, 400), answer.text
        assert answer.status_code == 200 or answer.json()["message"].endswith(".")
        return
    event("compared")
    assert answer.status_code == 200, answer.text
    names = [run["info"]["run_name"] for run in answer.json()["runs"]]
    assert names == [run.info.run_name for run in expected]
