"""The actions on a run: stop, pause, resume, clone, delete. Each is a POST request."""

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
    """Stop the run after its current step, or at once with force=1.

    With next=queue the response redirects to the queue.
    """
    run = requested_run(request, run_id, "stop")
    force = request.POST.get("force") == "1"
    response = _redirect_after(
        request, run, lambda: lifecycle.request_stop(run, actor_of(request).user, force=force)
    )
    return redirect("queue") if request.POST.get("next") == "queue" else response


@require_POST
def pause(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    """Write a checkpoint and free the devices for other runs until the run is resumed."""
    run = requested_run(request, run_id, "stop")
    return _redirect_after(request, run, lambda: lifecycle.pause(run, actor_of(request).user))


@require_POST
def resume(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    run = requested_run(request, run_id, "start")
    return _redirect_after(request, run, lambda: lifecycle.resume(run, actor_of(request).user))


@require_POST
def clone(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    """Start the same definition again as a new run."""
    run = requested_run(request, run_id, "start")
    return _redirect_after(
        request, run, lambda: lifecycle.clone(run, run.team, actor_of(request).user)
    )


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


def _redirect_after(
    request: HttpRequest, run: Run, action: Callable[[], Run]
) -> HttpResponseRedirect:
    """Carry out `action` and redirect to the run that it returns.

    A refusal becomes a message on the page of `run`.
    """
    try:
        run = action()
    except transitions.TransitionRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("run", run.public_id)
