"""The queue and the machines as stored in Postgres, and the plan computed from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, Min, Q, QuerySet
from django.db.models.functions import Now

from webapp.access.models import Team
from webapp.base.database_clock import database_now
from webapp.nodes.allocation_keys import attempt_key
from webapp.nodes.models import Device, Kind, Node
from webapp.nodes.plan import Allocation, Machine, Plan, WaitingRun, plan
from webapp.nodes.plan import unreserved_devices as plan_unreserved_devices
from webapp.nodes.requests import request_of
from webapp.runs.models import ACTIVE, Run, State

# After a day a run comes before the fair share, so that no team can wait for ever.
OVERDUE = timedelta(days=1)


def current_plan(queue: Sequence[WaitingRun] | None = None) -> Plan:
    """Return what would be placed now, and why the rest waits.

    `queue` is the result of `waiting_runs`, if the caller has read it already.
    """
    limited = Team.objects.exclude(device_quota=None).values_list("pk", "device_quota")
    quotas = {team: quota for team, quota in limited if quota is not None}
    return plan(waiting_runs() if queue is None else queue, _machines(), _allocations(), quotas)


def unreserved_devices(machine: str) -> Counter[str]:
    """Return a machine's free devices by kind that no waiting run gets or has reserved."""
    return plan_unreserved_devices(waiting_runs(), _machines(), _allocations()).get(
        machine, Counter()
    )


def lost_nodes() -> QuerySet[Node]:
    """Return machines without a heartbeat for a lease period, by the clock of the database."""
    return Node.objects.filter(
        heartbeat_at__lt=Now() - timedelta(seconds=settings.STILLROOM_LEASE_SECONDS)
    )


def waiting_runs() -> list[WaitingRun]:
    """Return the managed runs in the queue that are not on hold."""
    overdue_before = database_now() - OVERDUE
    return [
        WaitingRun(
            run,
            team,
            request_of({"compute": compute}, memory),
            queued_at,
            priority,
            position,
            queued_at < overdue_before,
        )
        for run, team, compute, memory, queued_at, priority, position in Run.objects.filter(
            state=State.QUEUED, on_hold=False, source=Run.Source.MANAGED
        ).values_list(
            "pk",
            "team_id",
            # A definition may have many stages; only this section is read of it.
            "spec__compute",
            "memory_bytes",
            "queued_at",
            "priority",
            "queue_position",
        )
    ]


def live_nodes() -> QuerySet[Node]:
    """Return the machines whose heartbeat is fresh."""
    return Node.objects.exclude(pk__in=lost_nodes())


def _machines() -> list[Machine]:
    devices: dict[int, dict[str, int]] = {}
    gpu_memory: dict[int, int] = {}
    device_counts = (
        Device.objects.filter(retired=False)
        .values_list("node", "kind")
        .annotate(Count("pk"), Min("memory_bytes"))
        .order_by()
    )
    for node, kind, count, memory in device_counts:
        devices.setdefault(node, {})[kind] = count
        # The smallest GPU counts, since the run may get any of them.
        if kind == Kind.CUDA:
            gpu_memory[node] = memory or 0
    lost_ids = set(lost_nodes().values_list("pk", flat=True))
    return [
        Machine(
            node.name,
            devices.get(node.pk, {}),
            node.memory_bytes,
            gpu_memory.get(node.pk, 0),
            draining=node.draining,
            lost=node.pk in lost_ids,
        )
        for node in Node.objects.order_by("name")
    ]


def _allocations() -> list[Allocation]:
    """Return the allocated devices, one by one.

    Devices of lost machines count for no team's usage: nobody can use them.
    """
    runs = Run.objects.filter(~Q(memory_bytes=None), state__in=ACTIVE).values_list(
        "public_id", "attempt", "memory_bytes"
    )
    memory = {attempt_key(public_id, attempt): needed or 0 for public_id, attempt, needed in runs}
    # A retired device is not among its machine's devices, so it must not be subtracted from them.
    allocated = (
        Device.objects.exclude(allocated_to="").filter(retired=False).exclude(node__in=lost_nodes())
    )
    return [
        Allocation(name, kind, 1, team, memory.get(key, 0) if kind == Kind.CPU else 0)
        for name, kind, team, key in allocated.values_list(
            "node__name", "kind", "team", "allocated_to"
        )
    ]
