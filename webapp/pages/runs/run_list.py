"""The runs of the current team, newest first: one query a page, rows that the socket keeps true."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from webapp.access import access
from webapp.access.actors import actor_of
from webapp.clients.models import Project
from webapp.runs import status_text
from webapp.runs.models import Run, State

PAGE = 50
MOST_PROJECTS = 500
SEARCHED = (
    "name",
    "recipe",
    "owner__email",
    "owner__name",
    "summary__student",
    "summary__teacher",
    "public_id",
    "origin__project__name",
)
SOURCES = {
    Run.Source.MANAGED: "started here",
    Run.Source.CLIENT: "logged by a client",
    Run.Source.IMPORTED: "imported",
}


@require_safe
def runs(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    asked = {
        name: request.GET.get(name, "").replace("\0", "").strip()
        for name in ("q", "state", "source", "project")
    }
    mine = access.visible(actor, Run).filter(team=actor.team)
    found = (
        mine.select_related("owner", "origin__project")
        .defer("spec", "origin__params")
        .order_by("-pk")
    )
    page = list(_before(_matching(found, **asked), request.GET.get("before", ""))[: PAGE + 1])
    projects = (
        access.visible(actor, Project)
        .filter(team=actor.team)
        .order_by("name")
        .values_list("pk", "name")[:MOST_PROJECTS]
    )
    context: dict[str, Any] = {
        "rows": [_row(run) for run in page[:PAGE]],
        "older": page[PAGE - 1].pk if len(page) > PAGE else None,
        "text": asked["q"],
        **{name: asked[name] for name in ("state", "source", "project")},
        "query": urlencode({name: value for name, value in asked.items() if value}),
        "sources": SOURCES.items(),
        "projects": [name for _, name in projects],
        "states": [(value.value, status_text.STATES[value]) for value in State],
        "is_filtered": any(asked.values()) or bool(request.GET.get("before")),
        "live": {
            "phases": status_text.PHASES,
            "projects": {str(pk): name for pk, name in projects},
        },
    }
    return render(request, "runs/run_list.html", context)


def _row(run: Run) -> dict[str, Any]:
    has_bar = run.source == Run.Source.MANAGED or run.total_steps is not None
    shown = {
        "has_bar": has_bar,
        "phase": status_text.phase_of(run),
        "silent": status_text.is_silent(run),
        "state": status_text.state_of(run),
    }
    return {
        "run": run,
        "patience_s": round(status_text.silence_limit(run).total_seconds()),
        **shown,
    }


def _matching(runs: QuerySet[Run], q: str, state: str, source: str, project: str) -> QuerySet[Run]:
    """Runs in which every word of `q` occurs somewhere, in that state, of that source and project,
    if there is such a one.
    """
    if state in State.values:
        runs = runs.filter(state=state)
    if source in Run.Source.values:
        runs = runs.filter(source=source)
    if project:
        runs = runs.filter(origin__project__name=project)
    for word in q.split():
        condition = Q()
        for name in SEARCHED:
            condition |= Q(**{f"{name}__icontains": word})
        runs = runs.filter(condition)
    return runs


def _before(runs: QuerySet[Run], key: str) -> QuerySet[Run]:
    return (
        runs.filter(pk__lt=int(key))
        if key.isascii() and key.isdecimal() and len(key) < 19
        else runs
    )
