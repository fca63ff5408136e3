"""Models that MLflow's clients log: each is a tag of its run; its files stay with the client."""

from __future__ import annotations

import json
from typing import Annotated, Any

from django.db import transaction
from django.http import Http404
from django.shortcuts import get_object_or_404
from pydantic import BaseModel, Field

from webapp.access import permissions
from webapp.api.mlflow_types import RunRequest, Tag, files_of, read, values_of
from webapp.api.requests import ApiError, LogAnswer, LogRoute, ReadRoute, Request, Route
from webapp.clients import runs
from webapp.clients.limits import MAX_PARAMS
from webapp.clients.masking import masked
from webapp.clients.models import Origin
from webapp.runs.event_rows import storable
from webapp.runs.models import Run

PATH = "/api/2.0/mlflow/logged-models"
TAG = "logged_model."
# In the order of the numbers in MLflow's protobuf enum, which begin at 1.
STATUSES = ("LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED")
LONGEST_NAME = 500
MOST_TAGS = 100


class CreateModel(BaseModel):
    source_run_id: str = ""
    name: Annotated[str, Field(max_length=LONGEST_NAME)] = ""
    model_type: Annotated[str, Field(max_length=LONGEST_NAME)] = ""
    tags: Annotated[list[Tag], Field(max_length=MOST_TAGS)] = []


class FinalizeModel(BaseModel):
    status: str | int = STATUSES[1]


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
        number = 1 + max(
            (
                int(end)
                for name in origin.tags
                if (end := name.removeprefix(TAG)) != name and end.isdecimal()
            ),
            default=-1,
        )
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
                "artifact_uri": f"{files_of(origin)}/models/{number}/artifacts",
                "status": facts["status"],
                "model_type": facts["type"],
                "source_run_id": origin.run.public_id,
                "tags": [{"key": key, "value": str(value)} for key, value in facts["tags"].items()],
            },
            "data": {"params": [], "metrics": []},
        }
    }


ONE = PATH + "/{model_id}"
ROUTES: dict[tuple[str, str], Route] = {
    ("POST", PATH): ReadRoute(create, "start"),
    ("GET", ONE): ReadRoute(get),
    ("PATCH", ONE): ReadRoute(finalize, "start"),
    ("PATCH", ONE + "/tags"): ReadRoute(tag, "start"),
    ("POST", ONE + "/params"): ReadRoute(log_params, "start"),
    ("POST", "/api/2.0/mlflow/runs/outputs"): LogRoute(log_outputs),
}
