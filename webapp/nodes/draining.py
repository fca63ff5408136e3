"""Take machines out of use and back into use."""

from __future__ import annotations

from django.db import transaction

from webapp.access.models import User
from webapp.nodes import queue
from webapp.nodes.models import Node
from webapp.runs import leases, lifecycle, transitions
from webapp.runs.models import ACTIVE, Run


def drain(node: Node, move: bool, actor: User | None = None) -> int:
    """Place nothing on the machine any more, and return how many of its runs leave it.

    With `move` its runs write a checkpoint and are queued again; without it they finish there.
    """
    with transaction.atomic():
        # In one transaction: no worker sees the runs queued again before it sees the machine drain.
        Node.objects.filter(pk=node.pk).update(draining=True)
        runs = (
            leases.runs_on_machine(node.name).filter(state__in=ACTIVE)
            if move
            else Run.objects.none()
        )
        return sum(
            lifecycle.reschedule(run, f"{node.name} is being drained.", actor)
            for run in runs.order_by("pk")
        )


def undrain(node: Node) -> None:
    """Allow runs to be placed on the machine again."""
    with transaction.atomic():
        Node.objects.filter(pk=node.pk).update(draining=False)
        transitions.wake_on_commit()


def forget(node: Node) -> bool:
    """Delete a lost machine and its devices; False if its heartbeat is fresh."""
    deleted, _ = queue.lost_nodes().filter(pk=node.pk).delete()
    return deleted > 0
