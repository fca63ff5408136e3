"""Placement of waiting runs: devices and lease are claimed as `webapp.nodes.plan` says.

Any worker that is notified places runs for all machines; each machine starts what is placed on it.
"""

from __future__ import annotations

from django.db import connection, transaction

from webapp.base import celery_client
from webapp.nodes import queue
from webapp.nodes.allocation_keys import attempt_key
from webapp.nodes.plan import Placement
from webapp.runs import leases
from webapp.runs.models import Run, State
from workers.attempt.supervisor_start import start_supervisor
from workers.machine import allocation, host, registration

# Key of the advisory lock: any constant that nothing else in this database uses.
PLANNING_LOCK = 0x57111


def place_queued() -> list[int]:
    """Place what can be placed now, and return the ids of the placed runs."""
    registration.heartbeat()
    with transaction.atomic():
        # One planner at a time: the second one sees what the first has allocated.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [PLANNING_LOCK])
        placements, _ = queue.current_plan()
        runs = Run.objects.filter(pk__in=[placement.run for placement in placements])
        # Everyone who locks several runs locks them in order of their ids, which avoids deadlocks.
        list(runs.select_for_update(no_key=True).order_by("pk").values_list("pk"))
        placed = [placement for placement in placements if _claim(placement)]
    # After the commit, because the machine that is woken reads the rows.
    for machine in {machine for placement in placed for machine in placement.machines}:
        if machine == host.name():
            start_placed()
        else:
            celery_client.wake_node(machine)
    return [placement.run for placement in placed]


def start_placed() -> None:
    """Start the supervisors of attempts that were placed on this host and have none yet.

    This host leads some of these attempts and is a member of others.
    """
    led = (
        Run.objects.filter(state=State.STARTING, lease_holder=host.name())
        .order_by("pk")
        .values_list("public_id", "attempt")
    )
    joined = leases.members_on_machine(host.name()).values_list(
        "attempt__run__public_id", "attempt__number"
    )
    for public_id, attempt in [*led, *joined]:
        # The file remains when a supervisor dies: to replace it is the task of `adopt_orphans`,
        # which waits for a lease period.
        if not (host.attempt_folder(public_id, attempt) / "supervisor.lock").exists():
            start_supervisor(public_id, attempt)


def _claim(placement: Placement) -> bool:
    """Claim the run and all of its devices on all of its machines, or nothing."""
    with transaction.atomic():
        attempt = leases.claim(placement.run, *placement.machines)
        if attempt is None:
            return False
        key, team = attempt_key(attempt.run.public_id, attempt.number), attempt.run.team
        for machine in placement.machines:
            devices = allocation.claim(placement.devices, placement.kind, key, machine, team)
            if devices is None:
                transaction.set_rollback(True)
                return False
    return True
