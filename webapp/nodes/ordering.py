"""What people change in the queue: priorities, positions, and runs on hold."""

from __future__ import annotations

from typing import Literal

from django.db import transaction
from django.db.models import F

from webapp.access.models import Team, User
from webapp.runs import lifecycle, transitions
from webapp.runs.models import Priority, Run, State

Direction = Literal["first", "up", "down"]


def queue_of(team: Team) -> list[Run]:
    """Return the team's queued runs in their order, runs on hold included."""
    waiting = Run.objects.filter(team=team, state=State.QUEUED).defer("spec")
    return list(
        waiting.order_by("-priority", F("queue_position").asc(nulls_last=True), "queued_at", "pk")
    )


def move(run: Run, direction: Direction, actor: User | None) -> None:
    """Move a run within its team's queue; it takes the priority of the run whose place it takes.

    Raises TransitionRefused if the run is not queued any more.
    """
    with transaction.atomic():
        _lock(run.team)
        queue = queue_of(run.team)
        # The run may have been placed, or cancelled, since the page was shown.
        if run not in queue:
            raise transitions.TransitionRefused(
                f"This run is {run.state}; it is not in the queue any more."
            )
        index = queue.index(run)
        target = {"first": 0, "up": max(index - 1, 0), "down": min(index + 1, len(queue) - 1)}[
            direction
        ]
        priority = queue[target].priority
        queue.insert(target, queue.pop(index))
        # All positions are written, because a run without one comes after all that have one.
        for position, queued in enumerate(queue):
            Run.objects.filter(pk=queued.pk).update(queue_position=position)
        reasons = {
            "first": "Moved to the front of the queue.",
            "up": "Moved up in the queue.",
            "down": "Moved down in the queue.",
        }
        lifecycle.change_in_queue(
            run, reasons[direction], actor, priority=priority, queue_position=target
        )


def _lock(team: Team) -> None:
    """Lock the team's queue, so that one reorder runs at a time.

    All code that locks several runs does so in the order of `pk`, as placing does: two transactions
    in different orders would deadlock.
    """
    list(
        Run.objects.select_for_update(no_key=True)
        .filter(team=team, state=State.QUEUED)
        .order_by("pk")
        .values_list("pk")
    )


def set_priority(run: Run, priority: int, actor: User | None) -> None:
    """Set the priority and drop the position by hand. Raises TransitionRefused."""
    lifecycle.change_in_queue(
        run,
        f"Its priority is {Priority(priority).label} now.",
        actor,
        priority=priority,
        queue_position=None,
    )


def hold(run: Run, actor: User | None) -> None:
    """Keep a run from being placed; it stays in the queue. Raises TransitionRefused."""
    lifecycle.change_in_queue(run, "Put on hold.", actor, on_hold=True)


def release(run: Run, actor: User | None) -> None:
    """Let a run on hold be placed again. Raises TransitionRefused."""
    lifecycle.change_in_queue(run, "Not on hold any more.", actor, on_hold=False)
