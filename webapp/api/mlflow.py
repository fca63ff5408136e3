"""MLflow's tracking REST API (version 2.0): what its clients need to log, resume and read back.

Points count once by (run, key, step, time, value), so a repeated request changes nothing. Files
stay with the client.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.db import transaction
from django.shortcuts import get_object_or_404

from webapp.access import permissions
from webapp.access.models import Team
from webapp.api import mlflow_models
from webapp.api.mlflow_search import matching
from webapp.api.mlflow_types import (
    STATUSES,
    CreateExperiment,
    CreateRun,
    DeleteTag,
    Experiment,
    ExperimentTag,
    History,
    LogBatch,
    LogInputs,
    LogMetric,
    LogParam,
    RunRequest,
    Search,
    SetTag,
    UpdateRun,
    experiment,
    info,
    logs,
    read,
    values_of,
    whole,
)
from webapp.api.requests import ApiError, LogAnswer, LogRoute, ReadRoute, Request, Route
from webapp.clients import runs
from webapp.clients.client_batch import ClientBatch, RunPublicId, key
from webapp.clients.limits import MAX_PARAMS
from webapp.clients.masking import masked
from webapp.clients.models import Project
from webapp.runs.event_rows import storable
from webapp.runs.models import Run, State
from webapp.series import series_store

BASE = "/api/2.0/mlflow/"
ARTIFACTS = "/api/2.0/mlflow-artifacts/"
NO_FILES = (
    "Stillroom keeps no files of runs that are logged from elsewhere: start the run again, and "
    "its client keeps them beside itself."
)
# MLflow's own limit in bytes (MAX_BATCH_LOG_REQUEST_SIZE).
LONGEST_BATCH = 1_000_000
LONGEST_INPUT = 2000
# For each run of an answer the series store is queried, and for each experiment the database. The
# client follows the page token if it asked for more.
MOST_RUNS = 100
MOST_EXPERIMENTS = 100
# Of one answer, as MLflow's own client asks for; it follows the page token too.
MOST_POINTS = 25_000
# A client that names no experiment logs to this one without creating it.
DEFAULT = ("0", "Default")


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


def create_experiment(request: Request) -> dict[str, Any]:
    message, team = read(CreateExperiment, request.body), _team(request)
    name = runs.project_name(storable(message.name))
    # Two processes may create an experiment at once: on this code MLflow's client reads the other's
    # (mlflow/tracking/fluent.py).
    if permissions.visible(request.actor, Project).filter(team=team, name=name).exists():
        raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Experiment '{name}' already exists.")
    project = runs.project(team, name)
    if message.tags:
        project.tags = masked(values_of(message.tags))
        project.save(update_fields=["tags"])
    return {"experiment_id": str(project.pk)}


def set_experiment_tag(request: Request) -> dict[str, Any]:
    message = read(ExperimentTag, request.body)
    # The lock keeps tags that are set at the same time: each request writes the whole dictionary.
    with transaction.atomic():
        project = (
            permissions.visible(request.actor, Project)
            .select_for_update()
            .get(pk=_project(request, message.experiment_id).pk)
        )
        tag = masked({storable(message.key): storable(message.value)})
        project.tags = {**project.tags, **tag}
        if len(project.tags) > MAX_PARAMS:
            raise ApiError(
                400,
                "INVALID_PARAMETER_VALUE",
                f"An experiment may have {MAX_PARAMS:,} tags. This one has as many.",
            )
        project.save(update_fields=["tags"])
    return {}


def get_experiment(request: Request) -> dict[str, Any]:
    return {
        "experiment": experiment(_project(request, read(Experiment, request.query).experiment_id))
    }


def get_experiment_by_name(request: Request) -> dict[str, Any]:
    name = runs.project_name(storable(read(Experiment, request.query).experiment_name))
    project = permissions.visible(request.actor, Project).filter(name=name).first()
    if project is None:
        # On this code MLflow's client creates the experiment.
        raise ApiError(
            404, "RESOURCE_DOES_NOT_EXIST", f"Could not find experiment with name '{name}'"
        )
    return {"experiment": experiment(project)}


def search_experiments(request: Request) -> dict[str, Any]:
    message = read(Search, request.body)
    if message.filter:
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            "Experiments are not filtered here; leave the filter empty.",
        )
    first = _offset(message.page_token)
    projects = permissions.visible(request.actor, Project).order_by("-pk")[
        first : first + message.max_results + 1
    ]
    return _paged(
        "experiments", [experiment(project) for project in projects], first, message.max_results
    )


def create_run(request: Request) -> dict[str, Any]:
    message = read(CreateRun, request.body)
    tags = values_of(message.tags)
    run = runs.create(
        _project(request, message.experiment_id),
        request.actor.user,
        "mlflow",
        # A client may name a run by this tag instead.
        storable(message.run_name) or tags.get(runs.NAME_TAG, ""),
        tags=tags,
        started_at=_moment(message.start_time),
    )
    return {"run": whole(run)}


def get_run(request: Request) -> dict[str, Any]:
    return {"run": whole(_run(request, read(RunRequest, request.query)))}


def update_run(request: Request) -> dict[str, Any]:
    message = read(UpdateRun, request.body)
    run = _run(request, message)
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
    return {"run_info": info(_run(request, message))}


def delete_tag(request: Request) -> dict[str, Any]:
    message = read(DeleteTag, request.body)
    # The lock makes requests about one run's tags take turns: each writes the whole dictionary.
    with transaction.atomic():
        origin = runs.locked_origin(_run(request, message))
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
        _project(request, experiment_id).pk for experiment_id in set(message.experiment_ids)
    ]
    runs_of_projects = (
        permissions.visible(request.actor, Run)
        .filter(origin__project__in=projects)
        .select_related("origin", "owner")
    )
    first, count = _offset(message.page_token), min(message.max_results, MOST_RUNS)
    page = matching(runs_of_projects, message.filter, message.order_by)[first : first + count + 1]
    return _paged("runs", [whole(run) for run in page], first, count)


def get_history(request: Request) -> dict[str, Any]:
    message = read(History, request.query)
    run, first = _run(request, message), _offset(message.page_token)
    rows = series_store.export_rows(run, [key(message.metric_key)])
    count = min(message.max_results, MOST_POINTS)
    metrics: list[dict[str, Any]] = []
    for _, step, _, value, _, _, wall_time in islice(rows, first, None):
        metrics.append(
            {
                "key": message.metric_key,
                "value": series_store.json_number(value),
                "timestamp": round(wall_time * 1000),
                "step": step,
            }
        )
        # Not the stop of `islice`, which takes no number beyond 64 bits; a client may send one.
        if len(metrics) > count:
            break
    return _paged("metrics", metrics, first, count)


def list_artifacts(request: Request) -> dict[str, Any]:
    return {
        "root_uri": info(_run(request, read(RunRequest, request.query)))["artifact_uri"],
        "files": [],
    }


def _team(request: Request) -> Team:
    assert request.actor.team is not None
    return request.actor.team


def _named(request: Request, message: RunRequest) -> RunPublicId:
    return RunPublicId(_team(request).pk, message.run_id)


def _run(request: Request, message: RunRequest) -> Run:
    """The run that a request names. Raises Http404."""
    return get_object_or_404(
        permissions.visible(request.actor, Run).select_related("origin", "owner"),
        public_id=message.run_id,
        source=Run.Source.CLIENT,
    )


def _project(request: Request, experiment_id: str) -> Project:
    """The experiment of that id; id 0 is MLflow's default experiment. Raises Http404."""
    if experiment_id == DEFAULT[0]:
        return runs.project(_team(request), DEFAULT[1])
    # A number of 19 digits may not fit into a bigint column.
    is_valid = experiment_id.isascii() and experiment_id.isdecimal() and len(experiment_id) < 19
    project = (
        permissions.visible(request.actor, Project).filter(pk=int(experiment_id)).first()
        if is_valid
        else None
    )
    if project is None:
        raise ApiError(
            404, "RESOURCE_DOES_NOT_EXIST", f"No Experiment with id={experiment_id[:40]} exists"
        )
    return project


def _input(data_input: dict[str, Any]) -> dict[str, str]:
    try:
        facts = {
            name: storable(str(value))[:LONGEST_INPUT]
            for name, value in (data_input.get("dataset") or {}).items()
        }
        tags = {str(tag.get("key")): str(tag.get("value")) for tag in data_input.get("tags") or []}
    except (AttributeError, TypeError):
        raise ApiError(
            400,
            "INVALID_PARAMETER_VALUE",
            "A dataset input has a `dataset` with named facts and `tags` with `key` and `value`.",
        ) from None
    known_facts = {
        name: facts[name] for name in ("name", "digest", "source_type", "source") if name in facts
    }
    return {**known_facts, "context": storable(tags.get("mlflow.data.context", ""))}


def _moment(milliseconds: int) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def _offset(token: str) -> int:
    if token and not (token.isascii() and token.isdecimal() and len(token) < 10):
        raise ApiError(
            400, "INVALID_PARAMETER_VALUE", "This page_token was not given by this server."
        )
    return int(token or 0)


def _paged(name: str, items: list[dict[str, Any]], first: int, count: int) -> dict[str, Any]:
    """One page of `count` items, and the token of the next page if there is one.

    `items` has one item more than the page if there is a next page.
    """
    more = {"next_page_token": str(first + count)} if len(items) > count else {}
    return {name: items[:count], **more}


ROUTES: dict[tuple[str, str], Route] = {
    ("POST", BASE + "runs/log-batch"): LogRoute(log_batch),
    ("POST", BASE + "runs/log-metric"): LogRoute(log_metric),
    ("POST", BASE + "runs/log-parameter"): LogRoute(log_parameter),
    ("POST", BASE + "runs/set-tag"): LogRoute(set_tag),
    ("POST", BASE + "runs/log-inputs"): LogRoute(log_inputs),
    ("POST", BASE + "runs/delete-tag"): ReadRoute(delete_tag, "start"),
    ("POST", BASE + "experiments/create"): ReadRoute(create_experiment, "start"),
    ("POST", BASE + "experiments/set-experiment-tag"): ReadRoute(set_experiment_tag, "start"),
    ("GET", BASE + "experiments/get"): ReadRoute(get_experiment),
    ("GET", BASE + "experiments/get-by-name"): ReadRoute(get_experiment_by_name),
    ("POST", BASE + "experiments/search"): ReadRoute(search_experiments),
    ("POST", BASE + "runs/create"): ReadRoute(create_run, "start"),
    ("GET", BASE + "runs/get"): ReadRoute(get_run),
    ("POST", BASE + "runs/update"): ReadRoute(update_run, "start"),
    ("POST", BASE + "runs/search"): ReadRoute(search_runs),
    ("GET", BASE + "metrics/get-history"): ReadRoute(get_history),
    ("GET", BASE + "artifacts/list"): ReadRoute(list_artifacts),
    **mlflow_models.ROUTES,
}
# Addresses of MLflow's API that do nothing here, and the error text of each.
ELSEWHERE = {
    **dict.fromkeys(
        (BASE + "runs/delete", BASE + "runs/restore"),
        "Runs are deleted on their own page in Stillroom, and not restored.",
    ),
    **dict.fromkeys(
        (BASE + "experiments/delete", BASE + "experiments/restore", BASE + "experiments/update"),
        "An experiment is the project of its runs here: it is neither renamed nor deleted. "
        "Delete its runs on their pages.",
    ),
}
