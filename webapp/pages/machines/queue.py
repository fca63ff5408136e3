"""The queue: who waits, why, and in which order; what is at work where."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from webapp.access import access
from webapp.access.actors import actor_of
from webapp.access.models import User
from webapp.jobs.models import Job
from webapp.nodes import ordering
from webapp.pages.machines import board
from webapp.pages.runs.run_page import requested_run
from webapp.runs import transitions
from webapp.runs.models import Priority, Run

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
    wanted = {str(value): value for value in Priority.values}.get(request.POST.get("priority", ""))
    return _change(
        request,
        run_id,
        lambda run, actor: (
            ordering.set_priority(run, wanted, actor) if wanted is not None else None
        ),
    )


@require_POST
def hold(request: HttpRequest, run_id: str) -> HttpResponse:
    """on=1 keeps the run from being placed, anything else lets it go."""
    act = ordering.hold if request.POST.get("on") == "1" else ordering.release
    return _change(request, run_id, act)


def _change(
    request: HttpRequest, run_id: str, act: Callable[[Run, User | None], None]
) -> HttpResponse:
    """Act on a run of the queue and show the queue; without htmx, by the way of a redirect."""
    run = requested_run(request, run_id, "start")
    try:
        act(run, actor_of(request).user)
    except transitions.TransitionRefused as refusal:
        messages.error(request, str(refusal))
    return _page(request) if request.headers.get("HX-Request") else redirect("queue")


def _page(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    own = access.visible(actor, Run)
    lines = board.lines(own)
    context = {
        "lines": [
            (line, line.run is not None and access.may(actor, "start", line.run)) for line in lines
        ],
        "at_work": board.at_work(own),
        "jobs": board.jobs_at_work(access.visible(actor, Job)),
        "priorities": Priority.choices,
    }
    return render(request, "nodes/queue.html", context)
