"""The actions on a run that change its state: stop, pause, resume, end, clone, each by POST."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from webapp.access.actors import actor_of
from webapp.access.models import User
from webapp.access.permissions import Action
from webapp.base.view_marks import slow
from webapp.clients import runs as client_runs
from webapp.definition import launch_check
from webapp.pages.runs.run_page import requested_run
from webapp.runs import lifecycle, transitions
from webapp.runs.models import Run


@require_POST
def stop(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    """Stop the run after its current step, or at once with force=1.

    With next=queue the response redirects to the queue.
    """
    force = request.POST.get("force") == "1"
    action = partial(lifecycle.request_stop, force=force)
    response = _redirect_after(request, run_id, "stop", action)
    return redirect("queue") if request.POST.get("next") == "queue" else response


@require_POST
def pause(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    """Write a checkpoint and free the devices for other runs until the run is resumed."""
    return _redirect_after(request, run_id, "stop", lifecycle.pause)


@require_POST
def resume(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    return _redirect_after(request, run_id, "start", lifecycle.resume)


@require_POST
def end(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    """End a run of a client that does not report ends, such as Trackio's."""
    return _redirect_after(request, run_id, "stop", client_runs.end_by_hand)


@require_POST
def reopen(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    return _redirect_after(request, run_id, "start", client_runs.reopen_by_hand)


@slow
@require_POST
def clone(request: HttpRequest, run_id: str) -> HttpResponseRedirect:
    """Start the same definition again as a new run, if its preflight does not refuse it."""

    def checked_clone(run: Run, user: User | None) -> Run:
        if refusal := launch_check.refusal_of_definition(run.spec, run.team):
            raise transitions.TransitionRefused(refusal)
        return lifecycle.clone(run, run.team, user)

    return _redirect_after(request, run_id, "start", checked_clone)


def _redirect_after(
    request: HttpRequest, run_id: str, needed: Action, action: Callable[[Run, User | None], Run]
) -> HttpResponseRedirect:
    """Carry out `action`, for which `needed` must be allowed, and redirect to the returned run.

    A refusal becomes a message on the page of the run.
    """
    run = requested_run(request, run_id, needed)
    try:
        run = action(run, actor_of(request).user)
    except transitions.TransitionRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("run", run.public_id)
