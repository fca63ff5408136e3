"""Experiments of MLflow's clients: each is a project of the team; a deleted one is archived."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from webapp.access import permissions
from webapp.api.mlflow_lookup import archived, find_project, offset, paged, team_of
from webapp.api.mlflow_search import find_experiments
from webapp.api.mlflow_types import (
    CreateExperiment,
    Experiment,
    ExperimentTag,
    ExperimentTagKey,
    RenameExperiment,
    Search,
    experiment,
    read,
    values_of,
)
from webapp.api.requests import ApiError, ReadRoute, Request, Route
from webapp.clients import runs
from webapp.clients.limits import MAX_PARAMS
from webapp.clients.masking import masked
from webapp.clients.models import Project
from webapp.runs.event_rows import storable

BASE = "/api/2.0/mlflow/experiments/"


def create(request: Request) -> dict[str, Any]:
    message, team = read(CreateExperiment, request.body), team_of(request)
    name = runs.project_name(storable(message.name))
    # Two processes may create an experiment at once: on this code MLflow's client reads the other's
    # (mlflow/tracking/fluent.py).
    if permissions.visible(request.actor, Project).filter(team=team, name=name).exists():
        raise _exists(name)
    project = runs.project(team, name)
    if message.tags:
        project.tags = masked(values_of(message.tags))
        project.save(update_fields=["tags"])
    return {"experiment_id": str(project.pk)}


def get(request: Request) -> dict[str, Any]:
    project = find_project(request, read(Experiment, request.query).experiment_id)
    return {"experiment": experiment(project)}


def get_by_name(request: Request) -> dict[str, Any]:
    name = runs.project_name(storable(read(Experiment, request.query).experiment_name))
    project = permissions.visible(request.actor, Project).filter(name=name).first()
    if project is None:
        # On this code MLflow's client creates the experiment.
        raise ApiError(
            404, "RESOURCE_DOES_NOT_EXIST", f"Could not find experiment with name '{name}'"
        )
    return {"experiment": experiment(project)}


def search(request: Request) -> dict[str, Any]:
    message = read(Search, request.body or request.query)
    first, count = offset(message.page_token), message.max_results
    projects = find_experiments(
        permissions.visible(request.actor, Project).filter(
            archived(message.view_type, "archived_at")
        ),
        message.filter,
        message.order_by,
        first,
        count + 1,
    )
    return paged("experiments", [experiment(project) for project in projects], first, count)


def rename(request: Request) -> dict[str, Any]:
    message = read(RenameExperiment, request.body)
    project = _active(request, message.experiment_id)
    project.name = runs.project_name(storable(message.new_name))
    try:
        with transaction.atomic():
            project.save(update_fields=["name"])
    except IntegrityError:
        raise _exists(project.name) from None
    return {}


def delete(request: Request) -> dict[str, Any]:
    runs.archive_project(_active(request, read(Experiment, request.body).experiment_id))
    return {}


def restore(request: Request) -> dict[str, Any]:
    runs.restore_project(find_project(request, read(Experiment, request.body).experiment_id))
    return {}


def set_tag(request: Request) -> dict[str, Any]:
    message = read(ExperimentTag, request.body)
    # The lock keeps tags that are set at the same time: each request writes the whole dictionary.
    with transaction.atomic():
        project = _locked(request, message.experiment_id)
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


def delete_tag(request: Request) -> dict[str, Any]:
    message = read(ExperimentTagKey, request.body)
    with transaction.atomic():
        project = _locked(request, message.experiment_id)
        if project.tags.pop(storable(message.key), None) is None:
            raise ApiError(
                404,
                "RESOURCE_DOES_NOT_EXIST",
                f"No tag with name: {message.key[:100]} in this experiment.",
            )
        project.save(update_fields=["tags"])
    return {}


def _active(request: Request, experiment_id: str) -> Project:
    project = find_project(request, experiment_id)
    if project.archived_at is not None:
        raise ApiError(
            400,
            "INVALID_STATE",
            f"The experiment {project.pk} is deleted. Restore it first.",
        )
    return project


def _locked(request: Request, experiment_id: str) -> Project:
    projects = permissions.visible(request.actor, Project).select_for_update()
    return projects.get(pk=find_project(request, experiment_id).pk)


def _exists(name: str) -> ApiError:
    return ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Experiment '{name}' already exists.")


ROUTES: dict[tuple[str, str], Route] = {
    ("POST", BASE + "create"): ReadRoute(create, "start"),
    ("POST", BASE + "update"): ReadRoute(rename, "edit"),
    ("POST", BASE + "delete"): ReadRoute(delete, "edit"),
    ("POST", BASE + "restore"): ReadRoute(restore, "edit"),
    ("POST", BASE + "set-experiment-tag"): ReadRoute(set_tag, "start"),
    ("POST", BASE + "delete-experiment-tag"): ReadRoute(delete_tag, "start"),
    ("GET", BASE + "get"): ReadRoute(get),
    ("GET", BASE + "get-by-name"): ReadRoute(get_by_name),
    ("POST", BASE + "search"): ReadRoute(search),
    ("GET", BASE + "search"): ReadRoute(search),
}
