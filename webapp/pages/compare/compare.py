"""Runs beside each other: by a list in the address, or as saved under a name."""

from __future__ import annotations

from typing import Any

import orjson
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.access.actors import actor_of
from webapp.base.read_snapshot import snapshot
from webapp.base.view_marks import slow
from webapp.comparisons import choices as choices_of
from webapp.comparisons import saving
from webapp.comparisons.choices import MOST_CHARTS, MOST_RUNS, Choices
from webapp.comparisons.models import SavedComparison
from webapp.pages.compare.answer_links import links_of_comparison
from webapp.pages.compare.page_data import page_data
from webapp.pages.site import errors
from webapp.runs.models import Run
from webapp.series import series_store

# Points of all series of an answer, about; each series gets its part of them.
MOST_POINTS = 40_000
WIDTHS = (60, 800)
MOST_LISTED = 200


class TooManyRuns(Exception):
    """The address names more runs than can be compared; the message says how many."""


@slow
@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    """Compare the runs of `runs=a,b,…`; without any, list the saved comparisons."""
    ids = choices_of.run_ids(request.GET.get("runs", ""))
    if not ids:
        return _list(request)
    try:
        runs = _runs_named(request, ids)
    except TooManyRuns as error:
        return errors.page(
            request, 400, "Too many runs", str(error), "Compare fewer runs at a time."
        )
    choices = choices_of.read(request.GET.dict())
    listed = ",".join(run.public_id for run in runs)
    actor = actor_of(request)
    context = {
        "runs": listed,
        "address": f"{reverse('compare')}?runs={listed}&",
        "series": f"{reverse('compare_series')}?runs={listed}",
        "may_save": permissions.may_in_team(actor, "edit"),
        "may_share": permissions.may_in_team(actor, "share"),
    }
    return _page(request, runs, choices, context)


@slow
@permissions.shown_to_guests
@require_safe
def comparison(request: HttpRequest, comparison_id: str) -> HttpResponse:
    """A saved comparison; other choices in the address replace those that were saved."""
    saved = _saved(request, comparison_id)
    actor = actor_of(request)
    values = request.GET.dict() if request.GET else saved.choices
    runs = _runs_of(saved)
    may_edit = permissions.may(actor, "edit", saved)
    context = {
        "saved": saved,
        "before": saving.digest_of(saved),
        "runs": ",".join(run.public_id for run in runs) if may_edit else "",
        "address": f"{reverse('comparison', args=[saved.public_id])}?chosen=1&",
        "series": f"{reverse('comparison_series', args=[saved.public_id])}?",
        "may_save": may_edit,
        "may_share": permissions.may(actor, "share", saved),
        "deleted_count": saved.runs.exclude(deleted_at=None).count(),
    }
    return _page(request, runs, choices_of.read(values), context, choices_of.read(saved.choices))


@slow
@require_safe
def compare_series(request: HttpRequest) -> HttpResponseBase:
    """Return {axis, series} of the runs of the address, as series.json of a run does."""
    try:
        return _series(request, _runs_named(request, choices_of.run_ids(request.GET["runs"])))
    except (KeyError, TooManyRuns) as error:
        message = "runs must name the runs" if isinstance(error, KeyError) else str(error)
        return HttpResponse(
            orjson.dumps({"message": message}), content_type="application/json", status=400
        )


@slow
@permissions.shown_to_guests
@require_safe
def comparison_series(request: HttpRequest, comparison_id: str) -> HttpResponseBase:
    """Return the same of a saved comparison."""
    return _series(request, _runs_of(_saved(request, comparison_id)))


def _page(
    request: HttpRequest,
    runs: list[Run],
    choices: Choices,
    context: dict[str, Any],
    saved: Choices | None = None,
) -> HttpResponse:
    if not runs:
        return errors.page(
            request,
            410,
            "No run is left",
            "All runs of this comparison were deleted.",
            "Compare other runs.",
        )
    # Links to the runs' own pages, which a guest of a comparison cannot open.
    is_member = actor_of(request).user is not None
    with snapshot():
        data = page_data(
            runs,
            choices,
            context["address"],
            context["series"],
            saved,
            runs[0].team if is_member else None,
        )
    # Answers are shown by the pages of runs alone: a link to a comparison does not open them.
    answers = (
        links_of_comparison([row.item for row in data["rows"]], data["baseline"], data["metric"])
        if is_member
        else []
    )
    return render(
        request,
        "compare/compare.html",
        {**context, **data, "is_member": is_member, "answers": answers},
    )


def _list(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    comparisons = (
        permissions.visible(actor, SavedComparison)
        .filter(team=actor.team)
        .select_related("created_by")
        .order_by("-created_at", "-pk")[:MOST_LISTED]
    )
    return render(
        request, "compare/list.html", {"comparisons": comparisons, "most_runs": MOST_RUNS}
    )


def _runs_named(request: HttpRequest, ids: list[str]) -> list[Run]:
    """Return the runs of these ids in their order. Raises TooManyRuns, or Http404 if one of them
    does not exist for the person.
    """
    if len(ids) > MOST_RUNS:
        raise TooManyRuns(
            f"At most {MOST_RUNS} runs can be compared, and the address names {len(ids)}."
        )
    runs = _with_parameters(
        permissions.visible(actor_of(request), Run).filter(public_id__in=ids)
    ).in_bulk(field_name="public_id")
    if len(runs) < len(ids):
        raise Http404("a run does not exist")
    return [runs[public_id] for public_id in ids]


def _saved(request: HttpRequest, comparison_id: str) -> SavedComparison:
    return permissions.find(actor_of(request), "view", SavedComparison, public_id=comparison_id)


def _runs_of(saved: SavedComparison) -> list[Run]:
    """Return the runs of a comparison that the person may see: it shows them to its guests."""
    return list(_with_parameters(saved.runs.filter(deleted_at=None)).order_by("pk")[:MOST_RUNS])


def _with_parameters(runs: QuerySet[Run]) -> QuerySet[Run]:
    return runs.select_related("team", "origin")


def _series(request: HttpRequest, runs: list[Run]) -> HttpResponseBase:
    choices = choices_of.read(request.GET.dict())
    keys = [key.replace("\0", "") for key in request.GET.getlist("key")][:MOST_CHARTS]
    bounds = [_number(request.GET.get(name, "")) for name in ("from", "to")]
    width = max(WIDTHS[0], min(WIDTHS[1], MOST_POINTS // max(1, len(runs) * len(keys))))
    tag = series_store.etag(runs, request.GET.urlencode())
    if request.headers.get("If-None-Match") == tag:
        return HttpResponse(status=304, headers={"ETag": tag})
    series = series_store.read(
        runs, keys, axis=choices.axis, start=bounds[0], stop=bounds[1], width=width
    )
    return HttpResponse(
        orjson.dumps({"axis": choices.axis, "series": [entry.json() for entry in series]}),
        content_type="application/json",
        headers={"ETag": tag, "Cache-Control": "private, no-cache"},
    )


def _number(text: str) -> float | None:
    """Return a bound of the x axis; None for anything that is no finite number."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1e300 else None
