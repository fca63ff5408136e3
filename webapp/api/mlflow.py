"""MLflow's tracking REST API (version 2.0): what its clients need to log, resume and read back.

Points count once by (run, key, step, time, value), so a repeated request changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from webapp.api import mlflow_experiments, mlflow_files, mlflow_history, mlflow_models
from webapp.api.mlflow_lookup import (
    archived,
    find_project,
    find_run,
    offset,
    paged,
    team_of,
    visible_runs,
)
from webapp.api.mlflow_search import find_runs
from webapp.api.mlflow_types import (
    CONTEXT_TAG,
    DATASET_FACTS,
    STATUSES,
    USER_TAG,
    CreateRun,
    DeleteTag,
    LogBatch,
    LogInputs,
    LogMetric,
    LogParam,
    RunRequest,
    Search,
    SetTag,
    UpdateRun,
    info,
    logs,
    read,
    values_of,
    whole,
)
from webapp.api.requests import ApiError, LogAnswer, LogRoute, ReadRoute, Request, Route
from webapp.clients import runs
from webapp.clients.client_batch import ClientBatch, RunPublicId
from webapp.clients.run_names import random_name
from webapp.runs import edits
from webapp.runs.event_rows import storable
from webapp.runs.models import State

BASE = "/api/2.0/mlflow/"
# MLflow's own limit in bytes (MAX_BATCH_LOG_REQUEST_SIZE).
LONGEST_BATCH = 1_000_000
LONGEST_INPUT = 2000
# For each run of an answer the series store is queried, and for each experiment the database. The
# client follows the page token if it asked for more.
MOST_RUNS = 100
MOST_EXPERIMENTS = 100


def log_batch(request: Request) -> LogAnswer:
    if len(request.body) > LONGEST_BATCH:
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            f"A batch may have {LONGEST_BATCH} bytes; this one has {len(request.body)}.",
        )
    message = read(LogBatch, request.body)
    params: dict[str, str] = {}
    for item in message.params:
        name, value = storable(item["key"]), storable(item.get("value", ""))
        # A parameter keeps its first value, so the second one would be lost silently.
        if params.setdefault(name, value) != value:
            raise ApiError(
                400,
                "INVALID_PARAMETER_VALUE",
                f"The parameter {name!r} comes twice in this batch, as {params[name]!r} and "
                f"as {value!r}.",
            )
    batch = ClientBatch(
        _named(request, message),
        logs(message.metrics),
        params=params,
        tags=values_of(message.tags),
    )
    return LogAnswer([batch], {})


def log_metric(request: Request) -> LogAnswer:
    message = read(LogMetric, request.body)
    point = logs(
        [
            {
                "key": message.key,
                "value": message.value,
                "timestamp": message.timestamp,
                "step": message.step,
            }
        ]
    )
    return LogAnswer([ClientBatch(_named(request, message), point)], {})


def log_parameter(request: Request) -> LogAnswer:
    message = read(LogParam, request.body)
    return LogAnswer(
        [
            ClientBatch(
                _named(request, message), params={storable(message.key): storable(message.value)}
            )
        ],
        {},
    )


def set_tag(request: Request) -> LogAnswer:
    message = read(SetTag, request.body)
    return LogAnswer(
        [
            ClientBatch(
                _named(request, message), tags={storable(message.key): storable(message.value)}
            )
        ],
        {},
    )


def log_inputs(request: Request) -> LogAnswer:
    """Record the data sets that a run used: name, digest, source and purpose."""
    message = read(LogInputs, request.body)
    return LogAnswer(
        [
            ClientBatch(
                _named(request, message),
                inputs=[_input(data_input) for data_input in message.datasets],
            )
        ],
        {},
    )


def create_run(request: Request) -> dict[str, Any]:
    message = read(CreateRun, request.body)
    project, tags = find_project(request, message.experiment_id), values_of(message.tags)
    if project.archived_at is not None:
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            f"The experiment {project.pk} is deleted. Restore it first, or name another one.",
        )
    # What the client sends if it knows no name.
    if message.user_id not in ("", "unknown"):
        tags.setdefault(USER_TAG, storable(message.user_id))
    run = runs.create(
        project,
        request.actor.user,
        "mlflow",
        # A client may name a run by this tag instead.
        storable(message.run_name).strip() or tags.get(runs.NAME_TAG, "").strip() or random_name(),
        tags=tags,
        started_at=_moment(message.start_time),
    )
    return {"run": whole([run])[0]}


def get_run(request: Request) -> dict[str, Any]:
    return {"run": whole([find_run(request, read(RunRequest, request.query).run_id)])[0]}


def delete_run(request: Request) -> dict[str, Any]:
    run = find_run(request, read(RunRequest, request.body).run_id)
    edits.carry_out_one(edits.archive(), run, request.actor.user)
    return {}


def restore_run(request: Request) -> dict[str, Any]:
    run = find_run(request, read(RunRequest, request.body).run_id)
    if run.origin.project.archived_at is not None:
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            f"The experiment {run.origin.project_id} of this run is deleted. "
            "Restore the experiment.",
        )
    edits.carry_out_one(edits.restore(), run, request.actor.user)
    return {}


def update_run(request: Request) -> dict[str, Any]:
    message = read(UpdateRun, request.body)
    run = find_run(request, message.run_id)
    if message.run_name:
        runs.rename(run, storable(message.run_name))
    if message.status is not None and message.status not in STATUSES:
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            f"status must be one of {', '.join(STATUSES)}, not {message.status[:40]!r}.",
        )
    state = STATUSES[message.status] if message.status else None
    if state == State.RUNNING:
        runs.reopen(run)
    elif state is not None:
        runs.end(run, state, _moment(message.end_time))
    # Read again: the functions above write to the row, not to this object.
    return {"run_info": info(find_run(request, message.run_id))}


def delete_tag(request: Request) -> dict[str, Any]:
    message = read(DeleteTag, request.body)
    # The lock makes requests about one run's tags take turns: each writes the whole dictionary.
    with transaction.atomic():
        origin = runs.locked_origin(find_run(request, message.run_id))
        if origin.tags.pop(storable(message.key), None) is None:
            raise ApiError(
                404,
                "RESOURCE_DOES_NOT_EXIST",
                f"No tag with name: {message.key[:100]} in this run.",
            )
        origin.save(update_fields=["tags"])
    return {}


def search_runs(request: Request) -> dict[str, Any]:
    """Return at most MOST_RUNS runs, and a page token if there are more."""
    message = read(Search, request.body)
    if len(message.experiment_ids) > MOST_EXPERIMENTS:
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            f"Runs are searched in at most {MOST_EXPERIMENTS} experiments at once.",
        )
    projects = [
        find_project(request, experiment_id).pk for experiment_id in set(message.experiment_ids)
    ]
    first, count = offset(message.page_token), min(message.max_results, MOST_RUNS)
    page = find_runs(
        visible_runs(request)
        .filter(origin__project__in=projects)
        .filter(archived(message.run_view_type, "archived_at", "origin__project__archived_at")),
        message.filter,
        message.order_by,
        first,
        count + 1,
    )
    answer = paged("runs", page, first, count)
    return {**answer, "runs": whole(answer["runs"])}


def known_path(path: str) -> tuple[str, dict[str, str]]:
    """Return a path as ROUTES has it, and the values of its placeholders."""
    if path.startswith(mlflow_files.PREFIX):
        return mlflow_files.known_path(path)
    return mlflow_models.of_one(path)


def _named(request: Request, message: RunRequest) -> RunPublicId:
    return RunPublicId(team_of(request).pk, message.run_id)


def _input(data_input: dict[str, Any]) -> dict[str, str]:
    try:
        facts = {
            name: storable(str(value))[:LONGEST_INPUT]
            for name, value in (data_input.get("dataset") or {}).items()
            # Half a JSON text is of no use.
            if name not in ("schema", "profile") or len(str(value)) <= LONGEST_INPUT
        }
        tags = {str(tag.get("key")): str(tag.get("value")) for tag in data_input.get("tags") or []}
    except (AttributeError, TypeError):
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            "A dataset input has a `dataset` with named facts and `tags` with `key` and `value`.",
        ) from None
    known_facts = {name: facts[name] for name in DATASET_FACTS if name in facts}
    return {**known_facts, "context": storable(tags.get(CONTEXT_TAG, ""))}


def _moment(milliseconds: int) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


ROUTES: dict[tuple[str, str], Route] = {
    ("POST", BASE + "runs/log-batch"): LogRoute(log_batch),
    ("POST", BASE + "runs/log-metric"): LogRoute(log_metric),
    ("POST", BASE + "runs/log-parameter"): LogRoute(log_parameter),
    ("POST", BASE + "runs/set-tag"): LogRoute(set_tag),
    ("POST", BASE + "runs/log-inputs"): LogRoute(log_inputs),
    ("POST", BASE + "runs/delete-tag"): ReadRoute(delete_tag, "start"),
    ("POST", BASE + "runs/create"): ReadRoute(create_run, "start"),
    ("GET", BASE + "runs/get"): ReadRoute(get_run),
    ("POST", BASE + "runs/update"): ReadRoute(update_run, "start"),
    ("POST", BASE + "runs/delete"): ReadRoute(delete_run, "edit"),
    ("POST", BASE + "runs/restore"): ReadRoute(restore_run, "edit"),
    ("POST", BASE + "runs/search"): ReadRoute(search_runs),
    **mlflow_experiments.ROUTES,
    **mlflow_files.ROUTES,
    **mlflow_history.ROUTES,
    **mlflow_models.ROUTES,
}
