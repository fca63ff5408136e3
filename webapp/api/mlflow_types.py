"""Request types of the MLflow API with its limits, and runs and experiments in its JSON form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NotRequired, TypeVar

from pydantic import BaseModel, BeforeValidator, FailFast, Field, ValidationError, model_validator
from typing_extensions import TypedDict

from webapp.api.requests import ApiError
from webapp.clients.client_batch import FARTHEST, LoggedValues, key
from webapp.clients.models import Origin, Project
from webapp.clients.runs import NAME_TAG
from webapp.runs.event_rows import storable
from webapp.runs.models import Run, State
from webapp.series import series_store

# MLflow's own limits (mlflow/utils/validation.py), here and in the types below.
LONGEST_PARAM = 6000
LONGEST_TAG = 8000
MOST_ENTITIES = 1000
# The scheme without a host: MLflow's client sends files to the server that it logs to.
FILES = "mlflow-artifacts:"
STATUSES = {
    "RUNNING": State.RUNNING,
    "SCHEDULED": State.RUNNING,
    "FINISHED": State.COMPLETED,
    "FAILED": State.FAILED,
    "KILLED": State.STOPPED,
}
STATUS_OF: dict[str, str] = {
    State.RUNNING: "RUNNING",
    State.COMPLETED: "FINISHED",
    State.FAILED: "FAILED",
    State.STOPPED: "KILLED",
}
# The person of a run, a tag that the client sends.
USER_TAG = "mlflow.user"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CONTEXT_TAG = "mlflow.data.context"
DATASET_FACTS = ("name", "digest", "source_type", "source", "schema", "profile")
# In the order of the numbers in MLflow's protobuf enum, which begin at 1.
VIEW_TYPES = ("ACTIVE_ONLY", "DELETED_ONLY", "ALL")
ACTIVE, DELETED = "active", "deleted"
B = TypeVar("B", bound=BaseModel)

Key = Annotated[str, Field(min_length=1, max_length=250)]
Texts = Annotated[list[str], Field(max_length=MOST_ENTITIES), FailFast()]
Milliseconds = Annotated[int, Field(ge=0, lt=2**53)]
# Milliseconds, before the year 9999, the last that a datetime holds. 0 means now.
Moment = Annotated[int, Field(ge=0, lt=253_370_764_800_000)]


def cut(length: int) -> BeforeValidator:
    """Return a validator that cuts longer text, as MLflow does."""
    return BeforeValidator(lambda value: str(value)[:length])


class Metric(TypedDict):
    key: Key
    value: float
    timestamp: Milliseconds
    step: NotRequired[Annotated[int, Field(gt=-FARTHEST, lt=FARTHEST)]]


class Param(TypedDict):
    key: Key
    value: NotRequired[Annotated[str, cut(LONGEST_PARAM)]]


class Tag(TypedDict):
    key: Key
    value: NotRequired[Annotated[str, cut(LONGEST_TAG)]]


class RunRequest(BaseModel):
    """A request about a run, which older clients name by `run_uuid`."""

    run_id: str = ""
    run_uuid: str = ""

    @model_validator(mode="after")
    def _named(self) -> RunRequest:
        self.run_id = self.run_id or self.run_uuid
        if not self.run_id or "\0" in self.run_id:
            raise ValueError("Missing value for required parameter 'run_id'.")
        return self


class LogBatch(RunRequest):
    metrics: Annotated[list[Metric], Field(max_length=MOST_ENTITIES)] = []
    params: Annotated[list[Param], Field(max_length=100)] = []
    tags: Annotated[list[Tag], Field(max_length=100)] = []

    @model_validator(mode="after")
    def _together(self) -> LogBatch:
        if len(self.metrics) + len(self.params) + len(self.tags) > MOST_ENTITIES:
            raise ValueError(
                f"A batch may have at most {MOST_ENTITIES} metrics, params and tags together."
            )
        return self


class LogMetric(RunRequest):
    key: Key
    value: float
    timestamp: Milliseconds
    step: Annotated[int, Field(gt=-FARTHEST, lt=FARTHEST)] = 0


class LogParam(RunRequest):
    key: Key
    value: Annotated[str, cut(LONGEST_PARAM)] = ""


class SetTag(RunRequest):
    key: Key
    value: Annotated[str, cut(LONGEST_TAG)] = ""


class LogInputs(RunRequest):
    datasets: Annotated[list[dict[str, Any]], Field(max_length=100)] = []


class UpdateRun(RunRequest):
    status: str | None = None
    run_name: str | None = None
    end_time: Moment = 0


class DeleteTag(RunRequest):
    key: Key


class CreateRun(BaseModel):
    experiment_id: str = "0"
    user_id: str = ""
    run_name: str = ""
    start_time: Moment = 0
    tags: Annotated[list[Tag], Field(max_length=1000)] = []


class CreateExperiment(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=500)]
    tags: Annotated[list[Tag], Field(max_length=1000)] = []


class ExperimentTag(BaseModel):
    experiment_id: str
    key: Key
    value: Annotated[str, cut(LONGEST_TAG)] = ""


class RenameExperiment(BaseModel):
    experiment_id: str
    new_name: Annotated[str, Field(min_length=1, max_length=500)]


class ExperimentTagKey(BaseModel):
    experiment_id: str
    key: Key


def _view_type(value: object) -> object:
    # In the JSON of a protobuf message an enum's value may be a name or a number.
    if isinstance(value, int) and 0 < value <= len(VIEW_TYPES):
        return VIEW_TYPES[value - 1]
    return value


ViewType = Annotated[Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"], BeforeValidator(_view_type)]


class Search(BaseModel):
    """A search for runs or for experiments; each has its own name for the view type."""

    experiment_ids: Texts = []
    run_view_type: ViewType = "ACTIVE_ONLY"
    view_type: ViewType = "ACTIVE_ONLY"
    filter: str = ""
    max_results: Annotated[int, Field(ge=1, le=50_000)] = 1000
    order_by: Texts = []
    page_token: str = ""


class History(RunRequest):
    metric_key: Key
    max_results: Annotated[int, Field(ge=1)] = 25_000
    page_token: str = ""


class BulkHistory(BaseModel):
    run_id: Annotated[list[str], Field(min_length=1, max_length=100)]
    metric_key: Key
    max_results: Annotated[int, Field(ge=1, le=25_000)] = 25_000


class Experiment(BaseModel):
    experiment_id: str = ""
    experiment_name: str = ""


def values_of(tags: Iterable[Tag]) -> dict[str, str]:
    """The storable values of tags by key; of several with one key the last counts."""
    return {storable(tag["key"]): storable(tag.get("value", "")) for tag in tags}


def read(shape: type[B], content: bytes | Mapping[str, object]) -> B:
    """Parse the body or the query as `shape`. Raises ApiError, which names field and error."""
    try:
        return (
            # A request without settings may have no body at all.
            shape.model_validate_json(content or b"{}")
            if isinstance(content, bytes)
            else shape.model_validate(content)
        )
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        text = f"Invalid value for parameter '{where}': {first['msg']}" if where else first["msg"]
        raise ApiError(400, "INVALID_PARAMETER_VALUE", text) from None


def logs(metrics: Iterable[Metric]) -> list[LoggedValues]:
    """Group values by step and time, so that each group holds a key once."""
    grouped: list[LoggedValues] = []
    # By step and time also where others come between: a batch may name its values key by key.
    newest: dict[tuple[int, float], LoggedValues] = {}
    for metric in metrics:
        position = metric.get("step", 0), metric["timestamp"] / 1000
        name, logged = key(metric["key"]), newest.get(position)
        if logged is None or name in logged.values:
            logged = newest[position] = LoggedValues({}, *position)
            grouped.append(logged)
        logged.values[name] = metric["value"]
    return grouped


def experiment(project: Project) -> dict[str, Any]:
    return {
        "experiment_id": str(project.pk),
        "name": project.name,
        "artifact_location": f"{FILES}/{project.pk}",
        "lifecycle_stage": ACTIVE if project.archived_at is None else DELETED,
        "creation_time": _milliseconds(project.created_at),
        "tags": _pairs(project.tags),
    }


def info(run: Run) -> dict[str, Any]:
    facts = {
        "run_id": run.public_id,
        "run_uuid": run.public_id,
        "run_name": name_of(run),
        "experiment_id": str(run.origin.project_id),
        "user_id": str(run.origin.tags.get(USER_TAG) or run.owner or ""),
        "status": STATUS_OF.get(run.state, "RUNNING"),
        "start_time": _milliseconds(run.started_at),
        "end_time": _milliseconds(run.finished_at),
        "artifact_uri": f"{files_of(run.origin)}/artifacts",
        "lifecycle_stage": DELETED if run.origin.is_archived else ACTIVE,
    }
    return {name: value for name, value in facts.items() if value is not None}


def name_of(run: Run) -> str:
    """The run's name in its client; that of its page may be cut."""
    return run.origin.name or run.name


def files_of(origin: Origin) -> str:
    """Where the client sends the files of a run and of its models."""
    return f"{FILES}/{origin.project_id}/{origin.run.public_id}"


def whole(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Runs as JSON with the last point of each of their metrics."""
    last_points = series_store.last_points(runs)
    return [
        {
            "info": info(run),
            "data": {
                "metrics": [
                    metric(key, point.value, point.wall_time, point.step)
                    for key, point in last_points[run.pk].items()
                ],
                "params": _pairs(run.origin.params),
                # The name is a tag of every run, also of one that was named without it.
                "tags": _pairs({**run.origin.tags, NAME_TAG: name_of(run)}),
            },
            "inputs": {"dataset_inputs": [_input(facts) for facts in run.origin.inputs]},
        }
        for run in runs
    ]


def metric(key: str, value: float, wall_time: float, step: int) -> dict[str, Any]:
    return {
        "key": key,
        "value": series_store.json_number(value),
        "timestamp": round(wall_time * 1000),
        "step": step,
    }


def _input(facts: Mapping[str, Any]) -> dict[str, Any]:
    context = facts.get("context")
    return {
        "dataset": {name: str(facts[name]) for name in DATASET_FACTS if facts.get(name)},
        "tags": [{"key": CONTEXT_TAG, "value": str(context)}] if context else [],
    }


def _pairs(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"key": name, "value": str(value)} for name, value in values.items()]


def _milliseconds(time: datetime | None) -> int | None:
    # In whole numbers: 1.001 * 1000 is less than 1001 in floats.
    return None if time is None else (time - EPOCH) // timedelta(milliseconds=1)
