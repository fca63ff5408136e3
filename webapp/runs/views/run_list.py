"""The runs of the current team, newest first: one query a page, rows that the socket keeps true."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from webapp.runs import words
from webapp.runs.models import Run, State
from webapp.runs.views.shown import actor_of
from webapp.teams import access

PAGE = 50
SEARCHED = ("name", "recipe", "owner__email", "owner__name", "summary__student", "summary__teacher", "public_id")


@require_safe
def runs(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    text, state = request.GET.get("q", "").strip(), request.GET.get("state", "")
    found = access.visible(actor, Run).filter(team=actor.team).select_related("owner").defer("spec").order_by("-pk")
    page = list(_before(_matching(found, text, state), request.GET.get("before", ""))[: PAGE + 1])
    rows: list[dict[str, Any]] = [{"run": run, "phase": words.phase_of(run), "silent": words.is_silent(run)} for run in page[:PAGE]]
    context: dict[str, Any] = {
        "rows": rows,
        "older": rows[-1]["run"].pk if len(page) > PAGE else None,
        "text": text,
        "state": state,
        "states": [(value.value, words.STATES[value]) for value in State],
        "is_filtered": bool(text or state or request.GET.get("before")),
        "live": {"states": words.STATES, "phases": words.PHASES},
    }
    return render(request, "runs/run_list.html", context)


def _matching(runs: QuerySet[Run], text: str, state: str) -> QuerySet[Run]:
    """Runs in which every word of `text` occurs somewhere, in that state if it is one."""
    if state in State.values:
        runs = runs.filter(state=state)
    for word in text.replace("\0", "").split():
        condition = Q()
        for name in SEARCHED:
            condition |= Q(**{f"{name}__icontains": word})
        runs = runs.filter(condition)
    return runs


def _before(runs: QuerySet[Run], key: str) -> QuerySet[Run]:
    return runs.filter(pk__lt=int(key)) if key.isascii() and key.isdecimal() and len(key) < 19 else runs
