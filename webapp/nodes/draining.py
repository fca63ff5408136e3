"""Taking machines out of use and back."""

from __future__ import annotations

from django.db import transaction

from webapp.access.models import User
from webapp.nodes import queue
from webapp.nodes.models import Node
from webapp.runs import leases, lifecycle, transitions
from webapp.runs.models import ACTIVE, Run


def drain(node: Node, move: bool, actor: User | None = None) -> int:
    """Place nothing on the machine any more; its runs finish, or with `move` checkpoint and go on
    elsewhere. Returns how many move.
    """
    with transaction.atomic():
        Node.objects.filter(pk=node.pk).update(draining=True)
        there = (
            leases.runs_on_machine(node.name).filter(state__in=ACTIVE)
            if move
            else Run.objects.none()
        )
        return sum(
            lifecycle.reschedule(run, f"{node.name} is being drained.", actor)
            for run in there.order_by("pk")
        )


def undrain(node: Node) -> None:
    """Take the machine back into use."""
    with transaction.atomic():
        Node.objects.filter(pk=node.pk).update(draining=False)
        transitions.wake_on_commit()


def forget(node: Node) -> bool:
    """Remove a machine that is lost for good, with the record of what it had lent; False if it is
    heard of.
    """
    gone, _ = queue.lost_nodes().filter(pk=node.pk).delete()
    return gone > 0
