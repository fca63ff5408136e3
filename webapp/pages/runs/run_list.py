"""The runs of the current team, newest first; the live connection updates the rows."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.access.actors import actor_of
from webapp.clients.models import Project
from webapp.pages.query_numbers import bigint
from webapp.runs import status_text
from webapp.runs.models import ACTIVE, Run, State

PAGE_SIZE = 50
# Entries of the project menu.
MAX_PROJECTS = 500
# Words that are searched. Postgres looks for each in each field of every run.
MOST_WORDS = 8
SEARCHED_FIELDS = (
    "name",
    "recipe",
    "owner__email",
    "owner__name",
    "summary__student",
    "summary__teacher",
    "public_id",
    "origin__project__name",
)
# What the menu of states has besides states.
SILENT, ARCHIVED = "silent", "archived"
SOURCES = {
    Run.Source.MANAGED: "started here",
    Run.Source.CLIENT: "logged by a client",
    Run.Source.IMPORTED: "imported",
}


@require_safe
def runs(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    # Postgres does not accept NUL characters in a query.
    filters = {
        name: request.GET.get(name, "").replace("\0", "").strip()
        for name in ("q", "state", "source", "project")
    }
    team_runs = permissions.visible(actor, Run).filter(team=actor.team)
    # Definitions and parameters are large and not shown in the list.
    matching = _matching(
        team_runs.select_related("owner", "origin__project").defer("spec", "origin__params"),
        **filters,
    ).order_by("-pk")
    # Pages begin at a key, not at a number of rows: a run that is created while somebody reads
    # moves no run to another page.
    before = request.GET.get("before", "")
    if (last_pk := bigint(before)) is not None:
        matching = matching.filter(pk__lt=last_pk)
    # One row more than the page shows tells whether there is an older page.
    page = list(matching[: PAGE_SIZE + 1])
    projects = (
        permissions.visible(actor, Project)
        .filter(team=actor.team)
        .order_by("name")
        .values_list("pk", "name")[:MAX_PROJECTS]
    )
    context: dict[str, Any] = {
        "rows": [_row(run) for run in page[:PAGE_SIZE]],
        "older": page[PAGE_SIZE - 1].pk if len(page) > PAGE_SIZE else None,
        "text": filters["q"],
        "most_words": MOST_WORDS if len(_words(filters["q"])) > MOST_WORDS else None,
        **{name: filters[name] for name in ("state", "source", "project")},
        "query": urlencode({name: value for name, value in filters.items() if value}),
        "sources": SOURCES.items(),
        "projects": [name for _, name in projects],
        "states": [
            *((value.value, status_text.STATES[value]) for value in State),
            (SILENT, "silent, logged by a client"),
            (ARCHIVED, "archived"),
        ],
        "is_filtered": any(filters.values()) or bool(before),
        "live": {
            "phases": status_text.PHASES,
            "projects": {str(pk): name for pk, name in projects},
        },
    }
    return render(request, "runs/run_list.html", context)


def _row(run: Run) -> dict[str, Any]:
    return {
        "run": run,
        "patience_s": round(status_text.silence_limit(run).total_seconds()),
        # A client may not say how long its run is going to be.
        "has_bar": run.source == Run.Source.MANAGED or run.total_steps is not None,
        "is_client": run.source == Run.Source.CLIENT,
        "phase": status_text.phase_of(run),
        "silent": status_text.is_silent(run),
        "state": status_text.state_of(run),
    }


def _matching(runs: QuerySet[Run], q: str, state: str, source: str, project: str) -> QuerySet[Run]:
    """Return the runs that pass every filter; each word of `q` must be in one searched field.

    Of many words the first MOST_WORDS count. Archived runs are left out unless they are asked
    for. An unknown state or source filters nothing.
    """
    is_archived = Q(archived_at__isnull=False) | Q(origin__project__archived_at__isnull=False)
    runs = runs.filter(is_archived if state == ARCHIVED else ~is_archived)
    if state in State.values:
        runs = runs.filter(state=state)
    if state == SILENT:
        runs = runs.filter(
            state__in=ACTIVE,
            source=Run.Source.CLIENT,
            last_event_at__lt=Now() - status_text.CLIENT_SILENCE,
        )
    if source in Run.Source.values:
        runs = runs.filter(source=source)
    if project:
        runs = runs.filter(origin__project__name=project)
    for word in _words(q)[:MOST_WORDS]:
        in_fields = [(f"{name}__icontains", word) for name in SEARCHED_FIELDS]
        runs = runs.filter(Q(*in_fields, _connector=Q.OR))
    return runs


def _words(text: str) -> list[str]:
    """Return the different words of a search, in their order."""
    return list(dict.fromkeys(text.split()))
