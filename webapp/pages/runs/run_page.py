"""What all pages of a run share: finding the run, and the header above each tab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from webapp.access import permissions
from webapp.access.actors import Actor, actor_of
from webapp.access.permissions import Action
from webapp.clients.limits import MAX_SERIES
from webapp.experiments.models import Experiment
from webapp.pages.machines import board
from webapp.pages.panels.charts import Chart, chart_json, charts_by_prefix
from webapp.pages.runs.tabs import new_panel_triggers, origin_of, panels_of, tabs_of
from webapp.runs import status_text
from webapp.runs.lookup import find_run
from webapp.runs.models import ACTIVE, Run, State
from webapp.series import series_store

# A figure element for each chart is on the page even while it is not drawn.
MAX_CHARTS = 5000


def requested_run(request: HttpRequest, run_id: str, action: Action = "view") -> Run:
    """Return the run of that public id, checked for the person who sent the request.

    Raises Http404 if they cannot see it, PermissionDenied if they may not do `action`.
    """
    return find_run(actor_of(request), action, run_id)


def chart_board_context(run: Run, charts: Sequence[Chart]) -> dict[str, Any]:
    """Return what templates/runs/charts/_board.html needs to draw and update `charts`."""
    return {
        "charts": [(chart, ",".join(chart.keys)) for chart in charts],
        "board": {
            "run": run.public_id,
            # The live connection begins behind this batch, so nothing written meanwhile is missed.
            "since": run.batch_count,
            "series": reverse("series_json", args=[run.public_id]),
            "charts": [chart_json(chart) for chart in charts],
        },
    }


def logged_board_context(run: Run) -> dict[str, Any]:
    """Return what templates/runs/logged.html needs: a chart for each series that a client logged.

    `lazy` makes the browser read and draw only the charts in view.
    """
    keys = series_store.keys(run)
    groups = charts_by_prefix(keys[:MAX_CHARTS])
    all_charts = [chart for _, charts in groups for chart in charts]
    return {
        "groups": [
            (prefix, [(chart, chart.keys[0]) for chart in charts]) for prefix, charts in groups
        ],
        "board": chart_board_context(run, all_charts)["board"] | {"lazy": True},
        "left_out": max(0, len(keys) - MAX_CHARTS),
        "full": MAX_SERIES if len(keys) >= MAX_SERIES else 0,
    }


def _experiment_of(actor: Actor, run: Run) -> Experiment | None:
    """Return the experiment that the run belongs to."""
    return permissions.visible(actor, Experiment).filter(runs__run=run).first()


def render_tab(
    request: HttpRequest, run: Run, tab: str, template: str, context: dict[str, Any]
) -> HttpResponse:
    """Render runs/`template`, which extends runs/run_base.html, with `tab` as the current tab."""
    actor, panels = actor_of(request), panels_of(run, tab)
    origin = origin_of(run)
    is_active = run.state in ACTIVE
    # Guests, who come by a share link, see neither the queue nor the machines.
    is_member = actor.user is not None
    shared = {
        "run": run,
        "tab": tab,
        "tabs": tabs_of(run, panels, permissions.may(actor, "download", run)),
        # Only an active run can still write the first event of a panel.
        "new_tabs": new_panel_triggers(panels) if is_active and origin is None else "",
        "origin": origin,
        "is_archived": run.archived_at is not None or (origin is not None and origin.is_archived),
        # Notes are for the team; a guest gets the name and the tags.
        "notes": run.notes if is_member else "",
        "experiment": _experiment_of(actor, run) if is_member else None,
        "notes_are_open": request.GET.get("notes") == "open",
        "state_word": status_text.state_of(run),
        "is_managed": run.source == Run.Source.MANAGED,
        "phase": status_text.phase_of(run),
        "why": board.why(run) if run.state == State.QUEUED and is_member else "",
        "where": board.whereabouts(run) if is_active and is_member else "",
        "took": status_text.duration_of(run),
        "resumption": status_text.resumption_of(run) if run.attempt > 1 else "",
        "silent": status_text.is_silent(run),
        "is_at_fault": status_text.is_at_fault(run),
        "is_active": is_active or run.state == State.QUEUED,
        "may": {
            action: permissions.may(actor, action, run)
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
