"""The queue page: which runs wait, why, in which order, and what runs where."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from webapp.access import permissions
from webapp.access.actors import actor_of
from webapp.access.models import User
from webapp.jobs.models import Job
from webapp.nodes import ordering
from webapp.pages.machines import board
from webapp.pages.runs.run_page import requested_run
from webapp.runs import transitions
from webapp.runs.models import Priority, Run

# A form may send anything; only these values are directions.
MOVES: dict[str, ordering.Direction] = {"first": "first", "up": "up", "down": "down"}


@require_safe
def queue(request: HttpRequest) -> HttpResponse:
    return _page(request)


@require_POST
def move_in_queue(request: HttpRequest, run_id: str) -> HttpResponse:
    where = MOVES.get(request.POST.get("where", ""))
    return _change(
        request, run_id, lambda run, actor: ordering.move(run, where, actor) if where else None
    )


@require_POST
def set_priority(request: HttpRequest, run_id: str) -> HttpResponse:
    # Anything else that a form sends changes nothing.
    priority = {str(value): value for value in Priority.values}.get(
        request.POST.get("priority", "")
    )
    return _change(
        request,
        run_id,
        lambda run, actor: (
            ordering.set_priority(run, priority, actor) if priority is not None else None
        ),
    )


@require_POST
def hold(request: HttpRequest, run_id: str) -> HttpResponse:
    """on=1 puts the run on hold; anything else releases it."""
    act = ordering.hold if request.POST.get("on") == "1" else ordering.release
    return _change(request, run_id, act)


def _change(
    request: HttpRequest, run_id: str, act: Callable[[Run, User | None], None]
) -> HttpResponse:
    """Change a queued run, then show the queue: as a fragment for htmx, else by a redirect."""
    run = requested_run(request, run_id, "start")
    try:
        act(run, actor_of(request).user)
    except transitions.TransitionRefused as refusal:
        messages.error(request, str(refusal))
    return _page(request) if request.headers.get("HX-Request") else redirect("queue")


def _page(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    visible_runs = permissions.visible(actor, Run)
    rows = board.queue_rows(visible_runs)
    context = {
        "rows": [
            (row, row.run is not None and permissions.may(actor, "start", row.run)) for row in rows
        ],
        "active_runs": board.active_runs(visible_runs),
        "active_jobs": board.active_jobs(permissions.visible(actor, Job)),
        "priorities": Priority.choices,
    }
    return render(request, "nodes/queue.html", context)
