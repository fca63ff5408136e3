"""The runs of the current team; the live connection updates the rows."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.access.actors import Actor, actor_of
from webapp.base.number_text import percent, plain, points
from webapp.clients.models import Project
from webapp.pages.runs.finding import groups, matching, ordering
from webapp.pages.runs.finding.columns import OWN_COLUMNS, Column, cell_texts, sorts_of
from webapp.pages.runs.finding.filter_language import FilterError, Term
from webapp.pages.runs.finding.list_query import ListQuery, list_query
from webapp.pages.runs.finding.matching import ARCHIVED, MOST_WORDS, SILENT
from webapp.pages.runs.finding.ordering import RUN_COLUMNS, Sort
from webapp.pages.runs.finding.row_html import rows_html
from webapp.pages.runs.finding.saved_views import MOST_VIEWS, stored_query
from webapp.runs import edits, status_text
from webapp.runs.models import Run, SavedView, State

PAGE_SIZE = 50
# Pinned runs above the others.
MOST_PINNED = 20
# Entries of the project menu.
MAX_PROJECTS = 500
SOURCES = {
    Run.Source.MANAGED: "started here",
    Run.Source.CLIENT: "logged by a client",
    Run.Source.IMPORTED: "imported",
}


@require_safe
def runs(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    query = list_query(request.GET)
    terms, matched, complaint = _matched(actor, query)
    projects = (
        permissions.visible(actor, Project)
        .filter(team=actor.team)
        .order_by("name")
        .values_list("pk", "name")[:MAX_PROJECTS]
    )
    context: dict[str, Any] = {
        **(_grouped(actor, query, matched) if query.group else _listed(actor, query, matched)),
        **_views(actor, query),
        "query": query,
        "address": query.address(),
        "headings": [_heading(query, column) for column in query.columns],
        "name_heading": _heading(query, Column("name", "Run", "name")),
        "own_columns": [(column, column in query.columns) for column in OWN_COLUMNS.values()],
        "value_columns": [column for column in query.columns if column.is_value],
        "sorts": sorts_of(query.columns),
        "complaint": complaint,
        "notes": [] if complaint else _unknown_names(actor, query),
        "most_words": MOST_WORDS if len(matching.words_of(terms)) > MOST_WORDS else None,
        "sources": SOURCES.items(),
        "projects": [name for _, name in projects],
        "states": [
            *((value.value, status_text.STATES[value]) for value in State),
            (SILENT, "silent, logged by a client"),
            (ARCHIVED, "archived"),
        ],
        "is_filtered": query.is_filtered,
        "menu_count": sum(map(bool, query.menus.values())),
        "live": {
            "phases": status_text.PHASES,
            "projects": {str(pk): name for pk, name in projects},
            "follows_new": not query.is_filtered and query.sort == Sort(),
            "has_values": any(column.is_value for column in query.columns),
        },
    }
    return render(request, "runs/run_list.html", context)


@require_safe
def matching_runs(request: HttpRequest) -> JsonResponse:
    """Return the public ids of the runs that the address matches, in its order.

    Of more than are changed at once the first are returned, with `more`.
    """
    actor = actor_of(request)
    query = list_query(request.GET)
    _, matched, complaint = _matched(actor, query)
    if complaint:
        return JsonResponse({"error": complaint}, status=422)
    keys, next_cursor = ordering.page(actor, matched, query.sort, None, edits.MOST_AT_ONCE)
    ids = dict(permissions.visible(actor, Run).filter(pk__in=keys).values_list("pk", "public_id"))
    return JsonResponse(
        {"runs": [ids[key] for key in keys if key in ids], "more": next_cursor is not None}
    )


def _matched(actor: Actor, query: ListQuery) -> tuple[list[Term], QuerySet[Run], str]:
    """Return the terms, the runs for which they hold, and a sentence if they are not understood."""
    team_runs = permissions.visible(actor, Run).filter(team=actor.team)
    try:
        terms = query.terms()
        return terms, matching.matching(actor, team_runs, terms), ""
    except FilterError as error:
        return [], team_runs.none(), str(error)


def _listed(actor: Actor, query: ListQuery, matched: QuerySet[Run]) -> dict[str, Any]:
    """One page of runs; above the whole list in its usual order are those that are pinned."""
    is_whole = query.sort == Sort() and not query.first_page().is_filtered
    pinned = _pinned(matched) if is_whole else []
    others = matched.exclude(pk__in=pinned) if pinned else matched
    page, next_cursor = ordering.page(actor, others, query.sort, query.after, PAGE_SIZE)
    if query.after is None:
        page = [*pinned, *page]
    # Definitions and parameters are large and not shown in the list.
    by_key = (
        permissions.visible(actor, Run)
        .select_related("owner", "origin__project")
        .defer("spec", "origin__params")
        .in_bulk(page)
    )
    # A run may have been deleted since its key was read.
    runs = [by_key[pk] for pk in page if pk in by_key]
    return {
        "runs": runs,
        "rows": rows_html(runs, query.columns, cell_texts(actor, page, query.columns)),
        "next": query.behind(next_cursor).address() if next_cursor is not None else "",
        "first": query.first_page().address() if query.after is not None else "",
    }


def _pinned(matched: QuerySet[Run]) -> list[int]:
    """Return the primary keys of the newest pinned runs."""
    pinned = matched.filter(pinned=True).order_by("-pk")
    return list(pinned.values_list("pk", flat=True)[:MOST_PINNED])


def _grouped(actor: Actor, query: ListQuery, matched: QuerySet[Run]) -> dict[str, Any]:
    """The runs in groups, with the figures of the columns that show numbers."""
    columns = [column for column in query.columns if column.is_number]
    rows, has_more = groups.groups(actor, matched, query.group, columns)
    return {
        "groups": [
            {
                "group": group,
                "address": query.with_term(group.term).address(),
                "cells": [
                    (column, _figure_text(column, group.figures.get(column.name)))
                    for column in columns
                ],
            }
            for group in rows
        ],
        "group_columns": columns,
        "most_groups": groups.MOST_GROUPS if has_more else None,
    }


def _figure_text(column: Column, figure: groups.GroupFigure | None) -> tuple[str, str]:
    """Return a group's mean with its interval, and the number of runs that have the figure."""
    if figure is None:
        return "–", ""
    text = {"pass_rate": percent, "difference": points}.get(column.name, plain)
    spread = points if text is percent else text
    interval = "" if figure.half_width is None else f" ± {spread(figure.half_width).lstrip('+')}"
    return f"{text(figure.mean)}{interval}", f"{figure.n:,} {'run' if figure.n == 1 else 'runs'}"


def _heading(query: ListQuery, column: Column) -> dict[str, Any]:
    is_sorted = bool(column.sort) and query.sort.name == column.sort
    direction = "descending" if query.sort.is_descending else "ascending"
    return {
        "column": column,
        "address": query.sorted_by(column).address() if column.sort else "",
        "direction": direction if is_sorted else "",
    }


def _unknown_names(actor: Actor, query: ListQuery) -> list[str]:
    """Return sentences about chosen names that no run has."""
    chosen = [column.name for column in query.columns if column.is_value]
    own_sorts = {*RUN_COLUMNS, "created", *(column.sort for column in OWN_COLUMNS.values())}
    names = [*chosen, query.group, "" if query.sort.name in own_sorts else query.sort.name]
    return list(matching.unknown_keys(actor, [name for name in names if name]).values())


def _views(actor: Actor, query: ListQuery) -> dict[str, Any]:
    views = permissions.visible(actor, SavedView).filter(team=actor.team).order_by("name")
    shown = list(views[:MOST_VIEWS])
    opened = next((view for view in shown if view.pk == query.view), None)
    return {
        "views": shown,
        "view": opened,
        "is_view_changed": opened is not None
        and stored_query(query) != stored_query(list_query(QueryDict(opened.query))),
    }
