"""The queue and the machines as Postgres has them now, and the plan that follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, Min, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from webapp.access.models import Team
from webapp.nodes.allocation_keys import attempt_key
from webapp.nodes.models import Device, Kind, Node
from webapp.nodes.plan import Held, Machine, Plan, Waiting, plan
from webapp.nodes.plan import left_over as left_over_by_plan
from webapp.nodes.requests import request_of
from webapp.runs.models import ACTIVE, Run, State

OVERDUE = timedelta(days=1)


def current_plan(line: Sequence[Waiting] | None = None) -> Plan:
    """What would be placed now and why the rest waits. `line` is the queue, where somebody has read
    it already.
    """
    limited = Team.objects.exclude(device_quota=None).values_list("pk", "device_quota")
    quotas = {team: quota for team, quota in limited if quota is not None}
    return plan(waiting_runs() if line is None else line, _machines(), _held(), quotas)


def unreserved_devices(machine: str) -> Counter[str]:
    """Free devices of a machine, by kind, that no run in the queue gets or has kept for it."""
    return left_over_by_plan(waiting_runs(), _machines(), _held()).get(machine, Counter())


def lost_nodes() -> QuerySet[Node]:
    """Machines that have not been heard of for a lease period, by the clock of the database."""
    return Node.objects.filter(
        heartbeat_at__lt=Now() - timedelta(seconds=settings.STILLROOM_LEASE_SECONDS)
    )


def waiting_runs() -> list[Waiting]:
    """Runs that could be placed."""
    late = timezone.now() - OVERDUE
    columns = (
        "pk",
        "team_id",
        "spec__compute",
        "memory_bytes",
        "queued_at",
        "priority",
        "queue_position",
    )
    return [
        Waiting(
            run,
            team,
            request_of({"compute": compute}, memory),
            queued_at,
            priority,
            position,
            queued_at < late,
        )
        for run, team, compute, memory, queued_at, priority, position in Run.objects.filter(
            state=State.QUEUED, on_hold=False, source=Run.Source.MANAGED
        ).values_list(*columns)
    ]


def live_nodes() -> QuerySet[Node]:
    """All others."""
    return Node.objects.exclude(pk__in=lost_nodes())


def _machines() -> list[Machine]:
    devices: dict[int, dict[str, int]] = {}
    gpu_memory: dict[int, int] = {}
    there = (
        Device.objects.filter(retired=False)
        .values_list("node", "kind")
        .annotate(Count("pk"), Min("memory_bytes"))
        .order_by()
    )
    for node, kind, count, memory in there:
        devices.setdefault(node, {})[kind] = count
        if kind == Kind.CUDA:
            gpu_memory[node] = memory or 0
    gone = set(lost_nodes().values_list("pk", flat=True))
    return [
        Machine(
            node.name,
            devices.get(node.pk, {}),
            node.memory_bytes,
            gpu_memory.get(node.pk, 0),
            draining=node.draining,
            lost=node.pk in gone,
        )
        for node in Node.objects.order_by("name")
    ]


def _held() -> list[Held]:
    """What is lent, device by device. A lost machine's devices count for nobody: nobody gets them
    either.
    """
    known = Run.objects.filter(~Q(memory_bytes=None), state__in=ACTIVE).values_list(
        "public_id", "attempt", "memory_bytes"
    )
    memory = {attempt_key(public_id, attempt): needed or 0 for public_id, attempt, needed in known}
    lent = (
        Device.objects.exclude(allocated_to="").filter(retired=False).exclude(node__in=lost_nodes())
    )
    return [
        Held(name, kind, 1, team, memory.get(holder, 0) if kind == Kind.CPU else 0)
        for name, kind, team, holder in lent.values_list(
            "node__name", "kind", "team", "allocated_to"
        )
    ]
