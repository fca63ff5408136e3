"""The System tab of a run: the time of its steps, throughput, memory, teachers on servers."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.pages.panels import system as system_panel
from webapp.pages.runs.run_page import chart_board_context, render_tab, requested_run
from webapp.series import series_store


@permissions.shown_to_guests
@require_safe
def system(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id)
    charts = system_panel.charts(series_store.keys(run), run.spec or {})
    return render_tab(request, run, "system", "system.html", chart_board_context(run, charts))
