"""Giving waiting runs their devices, by `webapp.nodes.plan`. Whoever is woken does it for all
machines; each starts what is placed on it.

Devices and run are claimed in one transaction under one lock, so that of two who plan at once the
second sees what the first has done.
"""

from __future__ import annotations

from django.db import connection, transaction

from webapp.base import celery_client
from webapp.nodes import queue
from webapp.nodes.holders import holder_of
from webapp.nodes.plan import Placement
from webapp.runs import lifecycle
from webapp.runs.models import Run, State
from workers.attempt.supervisor_start import start_supervisor
from workers.machine import allocation, host, registration

PLANNING_LOCK = 0x57111


def place(run_id: int) -> bool:
    """Look at the queue; whether that placed the run."""
    return run_id in place_queued()


def place_queued() -> list[int]:
    """Place whatever can be placed now, and return the runs."""
    registration.beat()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [PLANNING_LOCK])
        placements, _ = queue.planned()
        chosen = Run.objects.filter(pk__in=[one.run for one in placements])
        list(
            chosen.select_for_update(no_key=True).order_by("pk").values_list("pk")
        )  # in the order in which others lock several
        placed = [one for one in placements if _claim(one)]
    for machine in {machine for one in placed for machine in one.machines}:
        if machine == host.name():
            start_placed()
        else:
            celery_client.wake_node(machine)
    return [one.run for one in placed]


def start_placed() -> None:
    """Start the supervisors of runs, and of parts of runs, that were placed on this host and not
    started yet.
    """
    led = (
        Run.objects.filter(state=State.STARTING, lease_holder=host.name())
        .order_by("pk")
        .values_list("public_id", "attempt")
    )
    parts = lifecycle.members_at_work(host.name()).values_list(
        "attempt__run__public_id", "attempt__number"
    )
    for public_id, attempt in [*led, *parts]:
        if not (host.attempt_folder(public_id, attempt) / "supervisor.lock").exists():
            start_supervisor(public_id, attempt)


def _claim(placement: Placement) -> bool:
    """The run and all of its devices on all of its machines, or nothing."""
    with transaction.atomic():
        attempt = lifecycle.claim(placement.run, *placement.machines)
        if attempt is None:
            return False
        holder = holder_of(attempt.run.public_id, attempt.number)
        for machine in placement.machines:
            if (
                allocation.claim(
                    placement.devices, placement.kind, holder, machine, attempt.run.team
                )
                is None
            ):
                transaction.set_rollback(True)
                return False
    return True
