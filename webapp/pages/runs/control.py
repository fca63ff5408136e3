"""What a person does to a run: stop, pause, resume, run again, delete. Every one is a POST that
goes through `webapp.runs.lifecycle`.
"""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from webapp.access.actors import actor_of
from webapp.pages.runs.run_page import requested_run
from webapp.runs import lifecycle, transitions
from webapp.runs.models import Run


@require_POST
def stop(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    """Cooperative first; with force=1, at once. With next=queue, the queue is shown afterwards."""
    run = requested_run(request, run_id, "stop")
    force = request.POST.get("force") == "1"
    shown = _then_show(
        request, run, lambda: lifecycle.request_stop(run, actor_of(request).user, force=force)
    )
    return redirect("queue") if request.POST.get("next") == "queue" else shown


@require_POST
def pause(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    """A checkpoint, and the devices are free for others until the run is resumed."""
    run = requested_run(request, run_id, "stop")
    return _then_show(request, run, lambda: lifecycle.pause(run, actor_of(request).user))


@require_POST
def resume(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    run = requested_run(request, run_id, "start")
    return _then_show(request, run, lambda: lifecycle.resume(run, actor_of(request).user))


@require_POST
def clone(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    """Start the same definition again as a new run."""
    run = requested_run(request, run_id, "start")
    return _then_show(request, run, lambda: lifecycle.clone(run, run.team, actor_of(request).user))


@require_POST
def delete(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    run = requested_run(request, run_id, "edit")
    try:
        lifecycle.delete(run)
    except transitions.TransitionRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("run", run.public_id)
    messages.success(request, f"“{run.name}” was deleted.")
    return redirect("runs")


def _then_show(request: HttpRequest, run: Run, act: Callable[[], Run]) -> HttpResponseRedirect:
    """Carry out `act` and show the run that it returns; a refusal is shown as a message on the run
    as it is.
    """
    try:
        run = act()
    except transitions.TransitionRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("run", run.public_id)
