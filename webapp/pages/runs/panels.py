"""The panels that only some runs have: calibration, tokens, privileged context."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from webapp.access import access
from webapp.pages.panels import calibration as reliability
from webapp.pages.panels import privileged as rates
from webapp.pages.panels import scrubber as recorded
from webapp.pages.panels import token_regions as regions
from webapp.pages.runs.run_page import board_of, render_tab, requested_run
from webapp.runs import definitions


@access.shown_to_guests
@require_safe
def calibration(request: HttpRequest, run_id: str) -> HttpResponse:
    """The reliability diagram at one evaluation, and the measures over all of them, for one way to
    read a confidence.
    """
    run = requested_run(request, run_id)
    known = reliability.readouts(run)
    asked = request.GET.get("readout", "")
    readout = (
        asked
        if asked in known
        else next(
            iter(known), "stated" if definitions.states_confidence(run.spec or {}) else "answer"
        )
    )
    context: dict[str, Any] = {
        "readouts": [(name, *reliability.READOUTS[name]) for name in known],
        "readout": readout,
        "counts_malformed": readout != reliability.UNSTATED,
        "readout_help": reliability.READOUTS[readout][1],
    }
    found = recorded.events(run, reliability.KIND, role=reliability.ROLE, readout=readout)
    if measured := recorded.measured(found, request):
        event = measured.payload
        context |= {
            "scrubber": measured.scrubber,
            "event": event,
            "diagram": reliability.reliability(event["bins"]),
            "risk": reliability.risk_coverage(event["risk_coverage"]),
            "sentence": reliability.in_words(event),
            "malformed": reliability.malformed(event),
        }
    return render_tab(
        request,
        run,
        "calibration",
        "panels/calibration.html",
        context | board_of(run, reliability.charts(readout)),
    )


@access.shown_to_guests
@require_safe
def tokens(request: HttpRequest, run_id: str) -> HttpResponse:
    """The tokens of one step by entropy and divergence, and the four regions over all steps."""
    run = requested_run(request, run_id)
    context: dict[str, Any] = {}
    if measured := recorded.measured(recorded.events(run, regions.KIND), request):
        event = measured.payload
        context = {
            "scrubber": measured.scrubber,
            "event": event,
            "heat": regions.heat_map(event),
            "regions": regions.rows(event),
            "sentence": regions.in_words(event),
            "maps": regions.MAPS,
        }
    return render_tab(
        request,
        run,
        "tokens",
        "panels/tokens.html",
        context | board_of(run, regions.charts(run.spec or {})),
    )


@access.shown_to_guests
@require_safe
def privileged(request: HttpRequest, run_id: str) -> HttpResponse:
    """The pass rates with and without what only the teacher is shown, over all measurements."""
    run = requested_run(request, run_id)
    found = rates.rates(run)
    context = (
        {"rates": found[::-1], "plot": rates.plot(found), "gate": rates.gate(found[-1])}
        if found
        else {}
    )
    return render_tab(request, run, "privileged", "panels/privileged.html", context)
