"""The stored rollouts of a run: a list with filters, and a reader that shows one by tokens."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from django.core.paginator import Paginator
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.base.view_marks import slow
from webapp.comparisons.answer_sources import ChosenColumn
from webapp.library import locations, model_reader
from webapp.library.model_files import UnusableModel
from webapp.pages.compare.answer_links import address
from webapp.pages.query_numbers import bigint
from webapp.pages.runs.run_page import render_tab, requested_run
from webapp.runs import branches, rollout_tokens
from webapp.runs.models import RolloutRow, Run
from webapp.runs.problem_texts import questions

PAGE_SIZE = 40
# Rows of the table that shows one problem through training.
MAX_HISTORY = 200
VERDICTS = {"correct": True, "wrong": False, "unknown": None}
SOURCES = ("student", "teacher")
# Unique within a run. It ends every order: two queries may order equal rows differently, and a row
# would then be on two pages or on none.
NEWEST = ("-step", "-attempt", "seq", "offset")
# Postgres puts rows without a divergence first in a descending order unless told otherwise.
ORDERS: dict[str, tuple[Any, ...]] = {
    "newest": NEWEST,
    "divergence": (F("divergence").desc(nulls_last=True), *NEWEST),
    "longest": ("-length", *NEWEST),
}


@permissions.shown_to_guests
@require_safe
def rollouts(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id)
    # Postgres does not accept NUL characters in a query.
    filters = {
        name: request.GET.get(name, "").replace("\0", "").strip()
        for name in ("problem", "step", "verdict", "truncated", "source", "order")
    }
    rows = _matching(run.rollouts.filter(branches.on_live_branch(run)), filters).order_by(
        *ORDERS.get(filters["order"], ORDERS["newest"])
    )
    # The links to other pages keep the filters, but not the number of this page.
    query = request.GET.copy()
    query.pop("page", None)
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    texts = questions(run, {row.problem for row in page})
    edits = rollout_tokens.edits(run, list(page))
    context = {
        "page": page,
        "rows": [(row, texts.get(row.problem, {}), edits.get(row.pk)) for row in page],
        "filters": filters,
        "query": query.urlencode(),
        "is_filtered": any(value for name, value in filters.items() if name != "order"),
        "counts": _counts(run),
        "verdicts": {"correct": "correct", "wrong": "wrong", "unknown": "could not tell"}.items(),
        "sources": SOURCES,
        "orders": {
            "newest": "newest first",
            "divergence": "largest divergence",
            "longest": "longest",
        }.items(),
    }
    return render_tab(request, run, "rollouts", "rollouts/list.html", context)


@slow
@permissions.shown_to_guests
@require_safe
def rollout(request: HttpRequest, run_id: str, attempt: int, seq: int, offset: int) -> HttpResponse:
    run = requested_run(request, run_id)
    row = get_object_or_404(run.rollouts, attempt=attempt, seq=seq, offset=offset)
    of_problem = run.rollouts.filter(branches.on_live_branch(run), problem=row.problem)
    of_source = of_problem.filter(source=row.source)
    before = of_source.filter(step__lt=row.step).order_by("-step").first()
    after = of_source.filter(step__gt=row.step).order_by("step").first()
    rollout, error = _read(run, row)
    context: dict[str, Any] = {
        "row": row,
        "conversation": questions(run, {row.problem}).get(row.problem, {}).get("history", []),
        "rollout": rollout,
        "error": error,
        "shades": shade_legend(),
        "before": before,
        "after": after,
        "beside": _beside(run, row, before, after),
        "history": of_problem.order_by("step", "seq", "offset")[:MAX_HISTORY],
    }
    if row.source == "student":
        teacher_row = of_problem.filter(source="teacher").order_by("-step").first()
        context["teacher"] = _read(run, teacher_row)[0] if teacher_row else None
    if rollout and rollout.teacher_prompt:
        context["teacher_prompt"] = _decoded(run, rollout.teacher_prompt)
    return render_tab(request, run, "rollouts", "rollouts/reader.html", context)


def _beside(run: Run, row: RolloutRow, before: RolloutRow | None, after: RolloutRow | None) -> str:
    """Return the address of the answers beside those of another step, if the problem has any."""
    rows = [other for other in (before, row, after) if other is not None][:2]
    columns = [
        ChosenColumn(
            run.public_id, "evaluation" if other.role == "evaluation" else "train", other.step
        )
        for other in rows
    ]
    return address(columns, row.problem)


def _decoded(run: Run, ids: Sequence[int]) -> str:
    """Return token ids as text; empty if the student's tokenizer is not on this server.

    Teacher prompts are stored as ids of the student's tokenizer.
    """
    try:
        folder = locations.model_folder((run.spec or {})["networks"]["student"]["model"], run.team)
        return model_reader.text_of(folder, ids) if folder else ""
    except (KeyError, locations.LocationError, UnusableModel, FileNotFoundError):
        return ""


def _read(run: Run, row: RolloutRow) -> tuple[rollout_tokens.TokenizedRollout | None, str]:
    """Return the rollout and "", or None and why it cannot be shown."""
    try:
        return rollout_tokens.read_rollout(run, row), ""
    except rollout_tokens.RolloutUnavailable as error:
        return None, str(error)


def _matching(rows: QuerySet[RolloutRow], filters: dict[str, str]) -> QuerySet[RolloutRow]:
    """Return the rows that pass every filter; a value that makes no sense filters nothing."""
    if filters["problem"]:
        rows = rows.filter(problem=filters["problem"])
    if (step := bigint(filters["step"])) is not None:
        rows = rows.filter(step=step)
    if filters["verdict"] in VERDICTS:
        rows = rows.filter(verdict=VERDICTS[filters["verdict"]])
    if filters["truncated"] in ("0", "1"):
        rows = rows.filter(truncated=filters["truncated"] == "1")
    return rows.filter(source=filters["source"]) if filters["source"] in SOURCES else rows


def _counts(run: Run) -> dict[str, int]:
    """Return how many rollouts were stored (`kept`), and how many there were (`of`)."""
    pairs = list(
        run.events.filter(branches.on_live_branch(run), type="rollouts").values_list(
            "payload__kept", "payload__of"
        )
    )
    return {"kept": sum(count or 0 for count, _ in pairs), "of": sum(of or 0 for _, of in pairs)}


def shade_legend() -> list[tuple[int, str]]:
    """Return (shade, range of divergence) pairs; shades are those of rollout_tokens.shade_of."""
    edges = [f"{edge:g}" for edge in rollout_tokens.SHADE_EDGES]
    return [
        (0, f"below {edges[0]}"),
        *((i, f"{low} to {high}") for i, (low, high) in enumerate(itertools.pairwise(edges), 1)),
        (6, f"above {edges[-1]}"),
    ]
