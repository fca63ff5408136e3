"""The machines page: devices, allocations and draining. Members see it, operators change it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from webapp.access import permissions
from webapp.access.actors import actor_of
from webapp.jobs.models import Job
from webapp.nodes import draining
from webapp.nodes.models import Node
from webapp.pages.machines import board
from webapp.runs.models import Run


@require_safe
def machines(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    context = {
        "machines": board.machine_cards(
            permissions.visible(actor, Node),
            permissions.visible(actor, Run),
            permissions.visible(actor, Job),
        ),
        "is_operator": actor.user is not None and actor.user.is_operator,
    }
    return render(request, "nodes/machines.html", context)


@require_POST
def drain(request: HttpRequest, node_id: int) -> HttpResponseRedirect:
    """move=1 makes the runs checkpoint and move; anything else lets them finish."""
    node = permissions.find(actor_of(request), "operate", Node, pk=node_id)
    moved = draining.drain(node, request.POST.get("move") == "1", actor_of(request).user)
    moving = f" {moved} run{'s' * (moved != 1)} will move to other machines." if moved else ""
    messages.success(request, f"{node.name} is being drained: no new run starts there.{moving}")
    return redirect("machines")


@require_POST
def undrain(request: HttpRequest, node_id: int) -> HttpResponseRedirect:
    node = permissions.find(actor_of(request), "operate", Node, pk=node_id)
    draining.undrain(node)
    messages.success(request, f"{node.name} is in use again.")
    return redirect("machines")


@require_POST
def forget(request: HttpRequest, node_id: int) -> HttpResponseRedirect:
    node = permissions.find(actor_of(request), "operate", Node, pk=node_id)
    if draining.forget(node):
        messages.success(
            request, f"{node.name} was removed. It returns when its workers start again."
        )
    else:
        messages.error(
            request, f"{node.name} still has a heartbeat. Stop its workers before you forget it."
        )
    return redirect("machines")
