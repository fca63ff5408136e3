"""What requests of MLflow's clients name: the team's runs and experiments, and pages of answers."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.shortcuts import get_object_or_404

from webapp.access import permissions
from webapp.access.models import Team
from webapp.api.requests import ApiError, Request
from webapp.clients import runs
from webapp.clients.models import Project
from webapp.runs.event_rows import storable
from webapp.runs.models import Run

# A client that names no experiment logs to this one without creating it.
DEFAULT = ("0", "Default")


def team_of(request: Request) -> Team:
    assert request.actor.team is not None
    return request.actor.team


def visible_runs(request: Request) -> QuerySet[Run]:
    """The runs that a client may see, with what their JSON form needs."""
    return permissions.visible(request.actor, Run).select_related("origin__project", "owner")


def find_run(request: Request, run_id: str) -> Run:
    """The run that a request names. Raises Http404."""
    return get_object_or_404(
        visible_runs(request), public_id=storable(run_id), source=Run.Source.CLIENT
    )


def find_project(request: Request, experiment_id: str) -> Project:
    """The experiment of that id; id 0 is MLflow's default experiment. Raises ApiError."""
    if experiment_id == DEFAULT[0]:
        return runs.project(team_of(request), DEFAULT[1])
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


def archived(view_type: str, *paths: str) -> Q:
    """What a view type selects, of rows that are archived if a date is at one of `paths`."""
    if view_type == "ALL":
        return Q()
    is_active = Q(*((f"{path}__isnull", True) for path in paths))
    return is_active if view_type == "ACTIVE_ONLY" else ~is_active


def offset(token: str) -> int:
    if token and not (token.isascii() and token.isdecimal() and len(token) < 10):
        raise ApiError(
            400, "INVALID_PARAMETER_VALUE", "This page_token was not given by this server."
        )
    return int(token or 0)


def paged(name: str, items: list[Any], first: int, count: int) -> dict[str, Any]:
    """One page of `count` items, and the token of the next page if there is one.

    `items` has one item more than the page if there is a next page.
    """
    more = {"next_page_token": str(first + count)} if len(items) > count else {}
    return {name: items[:count], **more}
