"""The overview, the frontier and the log of one run."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from webapp.access import access
from webapp.pages.panels import charts, evaluations, frontier
from webapp.pages.panels import snr as snr_plot
from webapp.pages.runs.run_page import board_of, free_board_of, render_tab, requested_run
from webapp.pages.runs.tabs import origin_of
from webapp.runs import branches, status_text
from webapp.runs.models import Event, Run
from webapp.runs.problem_texts import questions
from webapp.series import series_store

PAGE = 50
LOG_LINES = 500
LEVELS = ("info", "warning", "error")
FACTS = (
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


@access.shown_to_guests
@require_safe
def run(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id)
    if origin_of(run) is not None:
        return render_tab(request, run, "logged", "logged.html", free_board_of(run))
    measured = evaluations.comparisons(run)
    context = {"comparisons": measured, "results": [evaluations.sentence(one) for one in measured]}
    return render_tab(
        request, run, "run", "overview.html", context | board_of(run, charts.charts_of(run.spec))
    )


@access.shown_to_guests
@require_safe
def frontier_page(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id)
    pool, columns = frontier.pool(run), frontier.tracked(run)
    kind = request.GET.get("kind", "")
    snr, paths = _newest(run, "snr"), frontier.trajectories(columns)
    problems = Paginator(_problems(pool, kind, paths), PAGE).get_page(request.GET.get("page"))
    texts = questions(run, [row["id"] for row in problems])
    for row in problems:
        row |= {"text": texts.get(row["id"], {}), "path": paths.get(row["id"])}
    context = {
        "heat": {"address": reverse("frontier_json", args=[run.public_id])},
        "pool": pool,
        "shares": _bar(frontier.shares(pool)) if pool else None,
        "kinds": KINDS.items(),
        "kind": kind,
        "problems": problems,
        "kind_query": f"kind={kind}" if kind in KINDS else "",
        "snr": snr,
        "snr_plot": snr_plot.plot(snr["bins"]) if snr else None,
        "facts": {
            key.rpartition("/")[2]: value for key, value in series_store.latest(run, FACTS).items()
        },
    }
    return render_tab(request, run, "frontier", "panels/frontier.html", context)


@access.shown_to_guests
@require_safe
def frontier_json(request: HttpRequest, run_id: str) -> JsonResponse:
    return JsonResponse(frontier.heat_map(requested_run(request, run_id)))


@access.shown_to_guests
@require_safe
def log(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id)
    level = request.GET.get("level", "")
    lines = list(_lines(run, level)[:LOG_LINES])
    context = {
        "lines": lines,
        "is_cut": len(lines) == LOG_LINES,
        "level": level,
        "levels": LEVELS,
        "transitions": run.transitions.select_related("actor").order_by("-at", "-pk"),
        "attempts": [
            (attempt, status_text.exit_of(attempt)) for attempt in run.attempts.order_by("-number")
        ],
    }
    return render_tab(request, run, "log", "log.html", context)


@access.shown_to_guests
@require_safe
def log_text(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id)
    rows = _lines(run, "").order_by("attempt", "seq").values_list("attempt", "wall_time", "payload")
    text = "".join(
        f"{at:%Y-%m-%dT%H:%M:%SZ} attempt {attempt} {p.get('level', ''):7} {p.get('message', '')}\n"
        for attempt, at, p in rows
    )
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


def _lines(run: Run, level: str) -> Any:
    lines = run.events.filter(type="log").order_by("-attempt", "-seq")
    return lines.filter(payload__level=level) if level in LEVELS else lines


def _newest(run: Run, kind: str) -> dict[str, Any] | None:
    event: Event | None = (
        run.events.filter(branches.on_live_branch(run), type=kind)
        .order_by("step", "attempt", "seq")
        .last()
    )
    return {**event.payload, "step": event.step} if event else None


def _problems(
    pool: frontier.Measurement | None, kind: str, tracked: Container[str]
) -> list[dict[str, Any]]:
    """Rows of the problem table: those with a path first, the heaviest of them on top."""
    if pool is None:
        return []
    rows = [
        {
            "id": id,
            "rate": rate,
            "passed": pool.passed[id],
            "verdicts": pool.verdicts[id],
            "weight": pool.weights[id],
            "kind": _kind(rate),
        }
        for id, rate in pool.rates.items()
    ]
    kept = [row for row in rows if kind not in KINDS or not kind or row["kind"] == kind]
    return sorted(
        kept, key=lambda row: (row["id"] not in tracked, -(row["weight"] or 0.0), row["id"])
    )


def _bar(shares: dict[str, float]) -> dict[str, float]:
    """The shares, and where their parts of a bar of 100 units begin and how wide they are."""
    widths = {f"{name}_width": round(100 * share, 3) for name, share in shares.items()}
    return {
        **shares,
        **widths,
        "mastered_left": round(100 * (shares["hopeless"] + shares["frontier"]), 3),
    }


def _kind(rate: float | None) -> str:
    return (
        "set_aside"
        if rate is None
        else "mastered"
        if rate == 1
        else "hopeless"
        if rate == 0
        else "frontier"
    )
