"""The overview and the log of one run."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.access.actors import actor_of
from webapp.pages.panels import charts, evaluations
from webapp.pages.runs.run_page import (
    chart_board_context,
    logged_board_context,
    render_tab,
    requested_run,
)
from webapp.pages.runs.tabs import origin_of
from webapp.runs import status_text
from webapp.runs.models import Event, Run

# The page shows the newest lines; `log_text` returns all of them.
MAX_LOG_LINES = 500
LEVELS = ("info", "warning", "error")


@permissions.shown_to_guests
@require_safe
def overview(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id)
    if origin_of(run) is not None:
        return render_tab(request, run, "logged", "logged.html", logged_board_context(run))
    comparisons = evaluations.comparisons(run)
    context = {
        "comparisons": comparisons,
        "results": [evaluations.result_text(comparison) for comparison in comparisons],
    }
    held_out = next((pair for pair in comparisons if pair.role == "evaluation"), None)
    pass_rate = (
        charts.pass_rate_chart(held_out.before, held_out.subject) if held_out else charts.PASS_RATE
    )
    board = chart_board_context(run, charts.charts_of(run.spec, pass_rate))
    return render_tab(request, run, "run", "overview.html", context | board)


@permissions.shown_to_guests
@require_safe
def log(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id)
    level = request.GET.get("level", "")
    lines = _log_events(run)
    if level in LEVELS:
        lines = lines.filter(payload__level=level)
    changes = run.transitions.all()
    # A guest with a share link sees what the run did, not what the team wrote about it.
    if actor_of(request).user is None:
        changes = changes.exclude(state="")
    newest = list(lines.order_by("-attempt", "-seq")[:MAX_LOG_LINES])
    context = {
        "lines": newest,
        "is_cut": len(newest) == MAX_LOG_LINES,
        "level": level,
        "levels": LEVELS,
        "transitions": changes.select_related("actor").order_by("-at", "-pk"),
        "attempts": [
            (attempt, status_text.exit_of(attempt)) for attempt in run.attempts.order_by("-number")
        ],
    }
    return render_tab(request, run, "log", "log.html", context)


@permissions.shown_to_guests
@require_safe
def log_text(request: HttpRequest, run_id: str) -> HttpResponse:
    """Return the whole log as plain text, oldest line first."""
    events = _log_events(requested_run(request, run_id)).order_by("attempt", "seq")
    text = "".join(
        f"{time:%Y-%m-%dT%H:%M:%SZ} attempt {attempt} "
        f"{payload.get('level', ''):7} {payload.get('message', '')}\n"
        for attempt, time, payload in events.values_list("attempt", "wall_time", "payload")
    )
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


def _log_events(run: Run) -> QuerySet[Event]:
    return run.events.filter(type="log")
