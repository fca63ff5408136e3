"""The panels that only some runs have: frontier, calibration, tokens, privileged context."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.pages.panels import calibration as calibration_panel
from webapp.pages.panels import frontier as frontier_panel
from webapp.pages.panels import privileged as privileged_panel
from webapp.pages.panels import scrubber, snr, token_regions
from webapp.pages.runs.run_page import chart_board_context, render_tab, requested_run
from webapp.runs import definitions
from webapp.runs.problem_texts import questions
from webapp.series import series_store

PAGE_SIZE = 50
POOL_METRICS = (
    "pool/kept",
    "pool/set_aside",
    "pool/wrongly_dropped",
    "pool/drift",
    "weights/effective_problems",
)
KINDS = {
    "": "all",
    "mastered": "mastered (p = 1)",
    "frontier": "at the frontier",
    "hopeless": "hopeless (p = 0)",
    "set_aside": "set aside",
}
# A problem without a verdict has no rate. All other rates are at the frontier.
KIND_OF_RATE = {None: "set_aside", 0.0: "hopeless", 1.0: "mastered"}


@permissions.shown_to_guests
@require_safe
def frontier(request: HttpRequest, run_id: str) -> HttpResponse:
    """Show the pool by pass rate, its problems, and the gradient SNR if it was measured."""
    run = requested_run(request, run_id)
    pool = frontier_panel.pool(run)
    paths = frontier_panel.trajectories(frontier_panel.tracked(run))
    kind = request.GET.get("kind", "")
    rows = _problem_rows(pool, kind, paths) if pool else []
    problems = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    # Only for the rows of this page: the texts of a whole pool are large.
    texts = questions(run, [row["id"] for row in problems])
    for row in problems:
        row |= {"text": texts.get(row["id"], {}), "path": paths.get(row["id"])}
    newest_snr = scrubber.events(run, "snr").last()
    metrics = series_store.latest(run, POOL_METRICS)
    context = {
        "heat": {"address": reverse("frontier_json", args=[run.public_id])},
        "pool": pool,
        "shares": _share_bar(frontier_panel.shares(pool)) if pool else None,
        "kinds": KINDS.items(),
        "kind": kind,
        "problems": problems,
        "kind_query": f"kind={kind}" if kind in KINDS else "",
        "snr": {**newest_snr.payload, "step": newest_snr.step} if newest_snr else None,
        "snr_plot": snr.plot(newest_snr.payload["bins"]) if newest_snr else None,
        "facts": {key.rpartition("/")[2]: value for key, value in metrics.items()},
    }
    return render_tab(request, run, "frontier", "panels/frontier.html", context)


@permissions.shown_to_guests
@require_safe
def frontier_json(request: HttpRequest, run_id: str) -> JsonResponse:
    return JsonResponse(frontier_panel.heat_map(requested_run(request, run_id)))


@permissions.shown_to_guests
@require_safe
def calibration(request: HttpRequest, run_id: str) -> HttpResponse:
    """Show the reliability diagram of one evaluation, and the measures over all evaluations.

    `readout` in the URL chooses how a confidence is read from an answer.
    """
    run = requested_run(request, run_id)
    readouts = calibration_panel.readouts(run)
    readout = request.GET.get("readout", "")
    if readout not in readouts:
        expected = "stated" if definitions.states_confidence(run.spec or {}) else "answer"
        # Before the first measurement the page describes the one that the definition leads to.
        readout = next(iter(readouts), expected)
    context: dict[str, Any] = {
        "readouts": [(name, *calibration_panel.READOUTS[name]) for name in readouts],
        "readout": readout,
        "counts_malformed": readout != calibration_panel.UNSTATED,
        "readout_help": calibration_panel.READOUTS[readout][1],
    }
    events = scrubber.events(
        run, calibration_panel.KIND, role=calibration_panel.ROLE, readout=readout
    )
    if measurement := scrubber.selected(events, request):
        event = measurement.payload
        context |= {
            "scrubber": measurement.scrubber,
            "event": event,
            "diagram": calibration_panel.reliability(event["bins"]),
            "risk": calibration_panel.risk_coverage(event["risk_coverage"]),
            "summary": calibration_panel.summary(event),
            "malformed": calibration_panel.malformed(event),
        }
    context |= chart_board_context(run, calibration_panel.charts(readout))
    return render_tab(request, run, "calibration", "panels/calibration.html", context)


@permissions.shown_to_guests
@require_safe
def tokens(request: HttpRequest, run_id: str) -> HttpResponse:
    """Show the tokens of one step by entropy and divergence, and the regions over all steps."""
    run = requested_run(request, run_id)
    context = chart_board_context(run, token_regions.charts(run.spec or {}))
    events = scrubber.events(run, token_regions.KIND)
    if measurement := scrubber.selected(events, request):
        event = measurement.payload
        context |= {
            "scrubber": measurement.scrubber,
            "event": event,
            "heat": token_regions.heat_map(event),
            "regions": token_regions.table_rows(event),
            "summary": token_regions.summary(event),
            "maps": token_regions.MAPS,
        }
    return render_tab(request, run, "tokens", "panels/tokens.html", context)


@permissions.shown_to_guests
@require_safe
def privileged(request: HttpRequest, run_id: str) -> HttpResponse:
    """Show the pass rates with and without the teacher's extra context, over all measurements."""
    run = requested_run(request, run_id)
    context: dict[str, Any] = {}
    if measurements := scrubber.payloads_with_step(run, privileged_panel.KIND):
        context = {
            "rates": measurements[::-1],
            "plot": privileged_panel.plot(measurements),
            "gate": privileged_panel.gate(measurements[-1]),
        }
    return render_tab(request, run, "privileged", "panels/privileged.html", context)


def _problem_rows(
    pool: frontier_panel.PoolMeasurement, kind: str, tracked: Container[str]
) -> list[dict[str, Any]]:
    """Return the rows of the problem table: tracked problems first, then by falling weight."""
    rows = [
        {
            "id": id,
            "rate": rate,
            "passed": pool.passed[id],
            "verdicts": pool.verdicts[id],
            "weight": pool.weights[id],
            "kind": KIND_OF_RATE.get(rate, "frontier"),
        }
        for id, rate in pool.rates.items()
    ]
    if kind and kind in KINDS:
        rows = [row for row in rows if row["kind"] == kind]
    return sorted(
        rows, key=lambda row: (row["id"] not in tracked, -(row["weight"] or 0.0), row["id"])
    )


def _share_bar(shares: dict[str, float]) -> dict[str, float]:
    """Return the shares with the position and width of each in a bar of 100 units."""
    widths = {f"{name}_width": round(100 * share, 3) for name, share in shares.items()}
    mastered_left = round(100 * (shares["hopeless"] + shares["frontier"]), 3)
    return {**shares, **widths, "mastered_left": mastered_left}
