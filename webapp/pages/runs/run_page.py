"""What every page of a run shares: finding the run for whoever asks, and the header that stands
above each tab.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from webapp.access import access
from webapp.access.access import Action
from webapp.access.actors import actor_of
from webapp.clients.limits import MAX_SERIES
from webapp.pages.machines import board
from webapp.pages.panels import charts
from webapp.pages.panels.charts import Chart
from webapp.pages.runs.tabs import news_of_others, origin_of, panels_of, tabs_of
from webapp.runs import status_text
from webapp.runs.lookup import find_run
from webapp.runs.models import ACTIVE, Run, State
from webapp.series import series_store

MOST_CHARTS = 5000


def requested_run(request: HttpRequest, run_id: str, action: Action = "view") -> Run:
    """The run of that public id. Raises Http404 if the person cannot see it, PermissionDenied if
    they may not do `action`.
    """
    return find_run(actor_of(request), action, run_id)


def board_of(run: Run, shown: Sequence[Chart]) -> dict[str, Any]:
    """What templates/runs/charts.html needs to draw `shown` and to keep it up to date."""
    board = {
        "run": run.public_id,
        "since": run.batch_count,
        "series": reverse("series_json", args=[run.public_id]),
        "charts": [charts.declaration(chart) for chart in shown],
    }
    return {"charts": [(chart, ",".join(chart.keys)) for chart in shown], "board": board}


def free_board_of(run: Run) -> dict[str, Any]:
    """What templates/runs/free_charts.html needs: a chart for each series of a run whose series
    nobody knows beforehand.
    """
    keys = series_store.keys(run)
    groups = charts.by_prefix(keys[:MOST_CHARTS])
    shown = [chart for _, found in groups for chart in found]
    listed = [(prefix, [(chart, chart.keys[0]) for chart in found]) for prefix, found in groups]
    facts = {
        "left_out": max(0, len(keys) - MOST_CHARTS),
        "full": MAX_SERIES if len(keys) >= MAX_SERIES else 0,
    }
    return {"groups": listed, "board": board_of(run, shown)["board"] | {"lazy": True}, **facts}


def render_tab(
    request: HttpRequest, run: Run, tab: str, template: str, context: dict[str, Any]
) -> HttpResponse:
    """Return `template`, which extends runs/run_base.html, with `tab` as the current tab."""
    actor, panels = actor_of(request), panels_of(run, tab)
    shared = {
        "run": run,
        "tab": tab,
        "tabs": tabs_of(run, panels),
        "new_tabs": news_of_others(panels)
        if run.state in ACTIVE and origin_of(run) is None
        else "",
        "origin": origin_of(run),
        "state_word": status_text.state_of(run),
        "is_managed": run.source == Run.Source.MANAGED,
        "phase": status_text.phase_of(run),
        "why": board.why(run) if run.state == State.QUEUED and actor.user is not None else "",
        "where": board.whereabouts(run) if run.state in ACTIVE and actor.user is not None else "",
        "took": status_text.duration_of(run),
        "resumption": status_text.resumption_of(run) if run.attempt > 1 else "",
        "silent": status_text.is_silent(run),
        "is_at_fault": status_text.is_at_fault(run),
        "is_active": run.state in ACTIVE or run.state == State.QUEUED,
        "may": {
            action: access.may(actor, action, run)
            for action in ("edit", "start", "stop", "share", "download")
        },
        "live": {
            "run": run.public_id,
            "since": run.batch_count,
            "states": status_text.STATES,
            "phases": status_text.PHASES,
            "patience_s": status_text.silence_limit(run).total_seconds(),
        },
    }
    return render(request, f"runs/{template}", {**shared, **context})
