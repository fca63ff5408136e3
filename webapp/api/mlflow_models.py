"""Models that MLflow's clients log: each is a tag of its run, with its files."""

from __future__ import annotations

import json
from typing import Annotated, Any

from django.db import transaction
from django.db.models import TextField
from django.db.models.functions import Cast
from django.http import Http404
from django.shortcuts import get_object_or_404
from pydantic import BaseModel, Field

from webapp.access import permissions
from webapp.api.mlflow_files import MODELS
from webapp.api.mlflow_filter import Field as SearchField
from webapp.api.mlflow_filter import Language
from webapp.api.mlflow_lookup import archived, find_project, offset, paged
from webapp.api.mlflow_search import Row, in_order
from webapp.api.mlflow_types import RunRequest, Tag, files_of, read, values_of
from webapp.api.requests import ApiError, LogAnswer, LogRoute, ReadRoute, Request, Route
from webapp.clients import run_files, runs
from webapp.clients.limits import MAX_PARAMS
from webapp.clients.masking import masked
from webapp.clients.models import Origin
from webapp.runs.event_rows import storable
from webapp.runs.models import Run

PATH = "/api/2.0/mlflow/logged-models"
TAG = "logged_model."
# In the order of the numbers in MLflow's protobuf enum, which begin at 1.
STATUSES = ("LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED")
LANGUAGE = Language(
    "models",
    numbers=("creation_timestamp", "last_updated_timestamp"),
    texts=("name", "model_id", "model_type", "status", "source_run_id", "experiment_id"),
    kinds=("attribute", "tag"),
)
LONGEST_NAME = 500
MOST_TAGS = 100


class CreateModel(BaseModel):
    source_run_id: str = ""
    name: Annotated[str, Field(max_length=LONGEST_NAME)] = ""
    model_type: Annotated[str, Field(max_length=LONGEST_NAME)] = ""
    tags: Annotated[list[Tag], Field(max_length=MOST_TAGS)] = []


class FinalizeModel(BaseModel):
    status: str | int = STATUSES[1]


class ModelOrder(BaseModel):
    field_name: str
    ascending: bool = True


class SearchModels(BaseModel):
    experiment_ids: list[str] = []
    filter: str = ""
    order_by: list[ModelOrder] = []
    datasets: list[dict[str, Any]] = []
    max_results: Annotated[int, Field(ge=1, le=1000)] = 100
    page_token: str = ""


class TagModel(BaseModel):
    tags: Annotated[list[Tag], Field(max_length=MOST_TAGS)] = []


def create(request: Request) -> dict[str, Any]:
    message = read(CreateModel, request.body)
    if not message.source_run_id:
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            "A model is logged under a run here: call mlflow.start_run() first.",
        )
    # The lock keeps two models that are created at once from taking the same number.
    with transaction.atomic():
        origin = _origin(request, message.source_run_id, lock=True)
        # Not the number of models: after the tag of one was deleted, that is another's number.
        number = 1 + max(_numbers(origin), default=-1)
        if len(origin.tags) >= MAX_PARAMS:
            raise ApiError(
                400,
                "INVALID_PARAMETER_VALUE",
                f"A run may have {MAX_PARAMS:,} tags, and each model is one. This run has as many.",
            )
        facts = {
            "name": storable(message.name) or f"model-{number}",
            "type": storable(message.model_type),
            "status": STATUSES[0],
            "tags": values_of(message.tags),
        }
        _keep(origin, number, facts)
    return _model(origin, number)


def get(request: Request) -> dict[str, Any]:
    return _model(*_find(request))


def search(request: Request) -> dict[str, Any]:
    """Return the models of the experiments' runs that a filter selects, the newest first."""
    message = read(SearchModels, request.body)
    if message.datasets:
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            "Models have no metrics of data sets here: leave `datasets` empty.",
        )
    conditions = LANGUAGE.conditions(message.filter)
    orders = LANGUAGE.orders(
        [f"{order.field_name} {'ASC' if order.ascending else 'DESC'}" for order in message.order_by]
    )
    projects = [find_project(request, id).pk for id in set(message.experiment_ids)]
    origins = (
        permissions.visible(request.actor, Origin)
        .filter(project__in=projects, run__source=Run.Source.CLIENT)
        .filter(archived("ACTIVE_ONLY", "run__archived_at", "project__archived_at"))
        .annotate(tag_text=Cast("tags", TextField()))
        .filter(tag_text__contains=f'"{TAG}')
        .select_related("run")
        .order_by("-pk")
    )
    models = [
        _model(origin, number)["model"]
        for origin in origins
        for number in reversed(_numbers(origin))
    ]
    rows: list[Row] = [
        (index, tuple(_value(model, order.field) for order in orders))
        for index, model in enumerate(models)
        if all(condition.holds(_value(model, condition.field)) for condition in conditions)
    ]
    first, count = offset(message.page_token), message.max_results
    page = in_order(rows, orders)[first : first + count + 1]
    return paged("models", [models[index] for index, _ in page], first, count)


def delete(request: Request) -> dict[str, Any]:
    """Delete a model with its files."""
    with transaction.atomic():
        origin, number = _find(request, lock=True)
        # The next model may get its number.
        run_files.remove(origin.run, f"{MODELS}/{number}")
        origin.tags = {
            name: value for name, value in origin.tags.items() if name != f"{TAG}{number}"
        }
        origin.save(update_fields=["tags"])
    return {}


def delete_tag(request: Request) -> dict[str, Any]:
    with transaction.atomic():
        origin, number = _find(request, lock=True)
        facts = _facts(origin, number)
        if facts["tags"].pop(storable(request.query["tag_key"]), None) is None:
            raise ApiError(
                404,
                "RESOURCE_DOES_NOT_EXIST",
                f"No tag with name: {request.query['tag_key'][:100]} of this model.",
            )
        _keep(origin, number, facts)
    return {}


def finalize(request: Request) -> dict[str, Any]:
    message = read(FinalizeModel, request.body)
    # In the JSON of a protobuf message an enum's value may be a name or a number.
    status = (
        STATUSES[message.status - 1]
        if isinstance(message.status, int) and 0 < message.status <= len(STATUSES)
        else message.status
    )
    if status not in STATUSES:
        raise ApiError(
            400, "INVALID_PARAMETER_VALUE", f"status must be one of {', '.join(STATUSES)}."
        )
    return _change(request, {"status": status})


def tag(request: Request) -> dict[str, Any]:
    return _change(request, {}, values_of(read(TagModel, request.body).tags))


def log_params(request: Request) -> dict[str, Any]:
    """Accept and ignore: a model has no parameters beside those of its run."""
    _find(request)
    return {}


def log_outputs(request: Request) -> LogAnswer:
    """Accept and ignore: a model's run is recorded when the model is created."""
    read(RunRequest, request.body)
    return LogAnswer([], {})


def _change(
    request: Request, facts: dict[str, Any], tags: dict[str, str] | None = None
) -> dict[str, Any]:
    with transaction.atomic():
        origin, number = _find(request, lock=True)
        current = _facts(origin, number)
        _keep(
            origin,
            number,
            {
                **current,
                **facts,
                "tags": dict([*current["tags"].items(), *(tags or {}).items()][:MOST_TAGS]),
            },
        )
    return _model(origin, number)


def _find(request: Request, lock: bool = False) -> tuple[Origin, int]:
    """The run's origin and the model's index in it, by the id of `_model`. Raises Http404."""
    run_id, _, number = request.query["model_id"].removeprefix("m-").partition("-")
    origin = _origin(request, run_id, lock)
    if not (number.isascii() and number.isdecimal() and f"{TAG}{number}" in origin.tags):
        raise Http404("no such model")
    return origin, int(number)


def _origin(request: Request, run_id: str, lock: bool = False) -> Origin:
    """The origin of a run, locked for a change with `lock`. Raises Http404."""
    origin = get_object_or_404(
        permissions.visible(request.actor, Origin).select_related("run"),
        run__public_id=storable(run_id),
        run__source=Run.Source.CLIENT,
    )
    return runs.locked_origin(origin.run) if lock else origin


def _numbers(origin: Origin) -> list[int]:
    """The numbers of a run's models, in order."""
    # A client may set any tag: a number of any length, in any script.
    ends = (name.removeprefix(TAG) for name in origin.tags if name.startswith(TAG))
    return sorted(int(end) for end in ends if end.isascii() and end.isdecimal() and len(end) < 10)


def _value(model: dict[str, Any], field: SearchField) -> str | int | None:
    info = model["info"]
    if field.kind == "tag":
        return next((tag["value"] for tag in info["tags"] if tag["key"] == field.name), None)
    value: str | int | None = info[
        f"{field.name}_ms" if field.name in LANGUAGE.numbers else field.name
    ]
    return value


def _facts(origin: Origin, number: int) -> dict[str, Any]:
    try:
        facts = json.loads(origin.tags[f"{TAG}{number}"])
        return {
            "name": str(facts["name"]),
            "type": str(facts["type"]),
            "status": facts["status"],
            "tags": dict(facts["tags"]),
        }
    except (ValueError, TypeError, KeyError):
        # A client may set any tag, so the text of this one may be anything.
        return {"name": f"model-{number}", "type": "", "status": STATUSES[1], "tags": {}}


def _keep(origin: Origin, number: int, facts: dict[str, Any]) -> None:
    origin.tags = {**origin.tags, f"{TAG}{number}": json.dumps(masked(facts))}
    origin.save(update_fields=["tags"])


def _model(origin: Origin, number: int) -> dict[str, Any]:
    facts = _facts(origin, number)
    created_ms = int(origin.run.created_at.timestamp() * 1000)
    return {
        "model": {
            "info": {
                "model_id": f"m-{origin.run.public_id}-{number}",
                "experiment_id": str(origin.project_id),
                "name": facts["name"],
                "creation_timestamp_ms": created_ms,
                "last_updated_timestamp_ms": created_ms,
                "artifact_uri": f"{files_of(origin)}/{MODELS}/{number}/artifacts",
                "status": facts["status"],
                "model_type": facts["type"],
                "source_run_id": origin.run.public_id,
                "tags": [{"key": key, "value": str(value)} for key, value in facts["tags"].items()],
            },
            "data": {"params": [], "metrics": []},
        }
    }


def of_one(path: str) -> tuple[str, dict[str, str]]:
    """The path of a model as ROUTES has it, and the values of its placeholders."""
    if not path.startswith(f"{PATH}/") or path == SEARCH:
        return path, {}
    model_id, *parts = path.removeprefix(f"{PATH}/").split("/")
    if len(parts) == 2 and parts[0] == "tags":
        return TAG_OF_ONE, {"model_id": model_id, "tag_key": parts[1]}
    return "/".join([ONE, *parts]), {"model_id": model_id}


SEARCH = PATH + "/search"
ONE = PATH + "/{model_id}"
TAG_OF_ONE = ONE + "/tags/{tag_key}"
ROUTES: dict[tuple[str, str], Route] = {
    ("POST", PATH): ReadRoute(create, "start"),
    ("POST", SEARCH): ReadRoute(search),
    ("GET", ONE): ReadRoute(get),
    ("PATCH", ONE): ReadRoute(finalize, "start"),
    ("DELETE", ONE): ReadRoute(delete, "start"),
    ("PATCH", ONE + "/tags"): ReadRoute(tag, "start"),
    ("DELETE", TAG_OF_ONE): ReadRoute(delete_tag, "start"),
    ("POST", ONE + "/params"): ReadRoute(log_params, "start"),
    ("POST", "/api/2.0/mlflow/runs/outputs"): LogRoute(log_outputs),
}
