"""The kept rollouts of a run: an index with filters, and a reader that shows one token by token."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from django.core.paginator import Paginator
from django.db.models import F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from webapp.access import access
from webapp.library import locations, model_files
from webapp.pages.runs.run_page import render_tab, requested_run
from webapp.runs import branches, rollout_tokens
from webapp.runs.models import RolloutRow, Run
from webapp.runs.problem_texts import questions

PAGE = 40
VERDICTS = {"correct": True, "wrong": False, "unknown": None}
SOURCES = ("student", "teacher")
ORDERS: dict[str, tuple[Any, ...]] = {
    "newest": ("-step", "-attempt", "seq", "offset"),
    "divergence": (F("divergence").desc(nulls_last=True), "-step", "offset"),
    "longest": ("-length", "-step", "offset"),
}


@access.shown_to_guests
@require_safe
def rollouts(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id)
    wanted = {
        name: request.GET.get(name, "").replace("\0", "").strip()
        for name in ("problem", "step", "verdict", "truncated", "source", "order")
    }
    kept = run.rollouts.filter(branches.on_live_branch(run))
    rows = _matching(kept, wanted).order_by(*_order(wanted["order"]))
    query = request.GET.copy()
    query.pop("page", None)
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    texts = questions(run, {row.problem for row in page})
    edits = rollout_tokens.edits(run, list(page))
    context = {
        "page": page,
        "rows": [(row, texts.get(row.problem, {}), edits.get(row.pk)) for row in page],
        "wanted": wanted,
        "query": query.urlencode(),
        "is_filtered": any(value for name, value in wanted.items() if name != "order"),
        "share": _share(run),
        "verdicts": {"correct": "correct", "wrong": "wrong", "unknown": "could not tell"}.items(),
        "sources": SOURCES,
        "orders": {
            "newest": "newest first",
            "divergence": "largest divergence",
            "longest": "longest",
        }.items(),
    }
    return render_tab(request, run, "rollouts", "rollouts/list.html", context)


@access.shown_to_guests
@require_safe
def rollout(request: HttpRequest, run_id: str, attempt: int, seq: int, offset: int) -> HttpResponse:
    run = requested_run(request, run_id)
    row = run.rollouts.filter(attempt=attempt, seq=seq, offset=offset).first()
    if row is None:
        raise Http404("no such rollout")
    same = run.rollouts.filter(branches.on_live_branch(run), problem=row.problem)
    read, gone = _read(run, row)
    context: dict[str, Any] = {
        "row": row,
        "rollout": read,
        "gone": gone,
        "shades": _legend(),
        "before": same.filter(source=row.source, step__lt=row.step).order_by("-step").first(),
        "after": same.filter(source=row.source, step__gt=row.step).order_by("step").first(),
        "history": same.order_by("step", "seq", "offset")[:200],
    }
    if row.source == "student":
        written = same.filter(source="teacher").order_by("-step").first()
        context["teacher"] = _read(run, written)[0] if written else None
    if read and read.teacher_prompt:
        context["teacher_prompt"] = _as_text(run, read.teacher_prompt)
    return render_tab(request, run, "rollouts", "rollouts/reader.html", context)


def _as_text(run: Run, ids: Sequence[int]) -> str:
    """What the teacher read, in the words of the student's tokenizer; empty where that is not on
    this server.
    """
    try:
        folder = locations.model_folder((run.spec or {})["networks"]["student"]["model"], run.team)
        return model_files.text_of(folder, ids) if folder else ""
    except (
        KeyError,
        locations.LocationError,
        model_files.UnusableModel,
        FileNotFoundError,
        OverflowError,
    ):
        return ""


def _read(run: Run, row: RolloutRow) -> tuple[rollout_tokens.Rollout | None, str]:
    """The rollout, or why it cannot be shown."""
    try:
        return rollout_tokens.read_rollout(run, row), ""
    except rollout_tokens.Gone as gone:
        return None, str(gone)


def _matching(rows: QuerySet[RolloutRow], wanted: dict[str, str]) -> QuerySet[RolloutRow]:
    if wanted["problem"]:
        rows = rows.filter(problem=wanted["problem"])
    if wanted["step"].isascii() and wanted["step"].isdecimal() and len(wanted["step"]) < 19:
        rows = rows.filter(step=int(wanted["step"]))
    if wanted["verdict"] in VERDICTS:
        rows = rows.filter(verdict=VERDICTS[wanted["verdict"]])
    if wanted["truncated"] in ("0", "1"):
        rows = rows.filter(truncated=wanted["truncated"] == "1")
    return rows.filter(source=wanted["source"]) if wanted["source"] in SOURCES else rows


def _order(name: str) -> tuple[Any, ...]:
    return ORDERS.get(name, ORDERS["newest"])


def _share(run: Run) -> dict[str, int]:
    """How many rollouts the events that kept some had seen."""
    pairs = list(
        run.events.filter(branches.on_live_branch(run), type="rollouts").values_list(
            "payload__kept", "payload__of"
        )
    )
    return {"kept": sum(kept or 0 for kept, _ in pairs), "of": sum(of or 0 for _, of in pairs)}


def _legend() -> list[tuple[int, str]]:
    edges = [f"{edge:g}" for edge in rollout_tokens.STEPS]
    return [
        (0, f"below {edges[0]}"),
        *((i, f"{low} to {high}") for i, (low, high) in enumerate(itertools.pairwise(edges), 1)),
        (6, f"above {edges[-1]}"),
    ]
