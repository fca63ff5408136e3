"""What people change of the queue: priorities, places by hand, and runs that are held back."""

from __future__ import annotations

from typing import Literal

from django.db import transaction
from django.db.models import F

from webapp.access.models import Team, User
from webapp.runs import lifecycle, transitions
from webapp.runs.models import Priority, Run, State

Where = Literal["first", "up", "down"]


def queue_of(team: Team) -> list[Run]:
    """The team's waiting runs in their order."""
    waiting = Run.objects.filter(team=team, state=State.QUEUED).defer("spec")
    return list(
        waiting.order_by("-priority", F("queue_position").asc(nulls_last=True), "queued_at", "pk")
    )


def move(run: Run, where: Where, actor: User | None) -> None:
    """Give a run another place among those of its team; it takes on the priority of what it passes.
    Raises Refused.
    """
    with transaction.atomic():
        _lock(run.team)
        line = queue_of(run.team)
        if run not in line:
            raise transitions.TransitionRefused(
                f"This run is {run.state}; it is not in the queue any more."
            )
        at = line.index(run)
        to = {"first": 0, "up": max(at - 1, 0), "down": min(at + 1, len(line) - 1)}[where]
        passed = line[to].priority
        line.insert(to, line.pop(at))
        for position, one in enumerate(line):
            Run.objects.filter(pk=one.pk).update(queue_position=position)
        words = {
            "first": "Moved to the front of the queue.",
            "up": "Moved up in the queue.",
            "down": "Moved down in the queue.",
        }
        lifecycle.change_in_queue(run, words[where], actor, priority=passed, queue_position=to)


def _lock(team: Team) -> None:
    """One reorder at a time. Whoever locks several runs does so by `pk`, as placing does, so that
    no two wait for each other.
    """
    list(
        Run.objects.select_for_update(no_key=True)
        .filter(team=team, state=State.QUEUED)
        .order_by("pk")
        .values_list("pk")
    )


def set_priority(run: Run, priority: int, actor: User | None) -> None:
    """Raises Refused."""
    lifecycle.change_in_queue(
        run,
        f"Its priority is {Priority(priority).label} now.",
        actor,
        priority=priority,
        queue_position=None,
    )


def hold(run: Run, actor: User | None) -> None:
    """Keep a run from being placed; it stays in the queue. Raises Refused."""
    lifecycle.change_in_queue(run, "Put on hold.", actor, on_hold=True)


def release(run: Run, actor: User | None) -> None:
    """Raises Refused."""
    lifecycle.change_in_queue(run, "Not on hold any more.", actor, on_hold=False)
