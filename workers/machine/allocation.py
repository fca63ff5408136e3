"""Allocation of devices: one conditional update gets all that is requested, or nothing.

So a device is never allocated twice. A key of `webapp.nodes.allocation_keys` says to which attempt
or copy it is allocated.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from webapp.access.models import Team
from webapp.nodes.models import Device, Kind
from webapp.runs import transitions
from workers.machine import host

FREE = Q(allocated_to="", retired=False)


def claim(
    count: int, kind: str, key: str, node: str | None = None, team: Team | None = None
) -> list[Device] | None:
    """Allocate `count` free devices of `kind` on `node` (this host by default) to `key`.

    Returns None if fewer are free. `team` counts for quotas and fair share. Drained machines are
    not excluded here: placement does that.
    """
    with transaction.atomic():
        # Rows that another transaction is claiming are skipped instead of waited for.
        free = Device.objects.select_for_update(skip_locked=True).filter(
            FREE, node__name=node or host.name(), kind=kind
        )
        devices = list(free.order_by("index")[:count])
        # The update repeats the condition, so that the claim does not depend on the lock alone.
        claimed = Device.objects.filter(FREE, pk__in=[device.pk for device in devices])
        if (
            len(devices) < count
            or claimed.update(allocated_to=key, allocated_since=Now(), team=team) != count
        ):
            transaction.set_rollback(True)
            return None
    return devices


def release(key: str, node: str | None = None) -> int:
    """Release all devices of `key` on `node`, or on all nodes; return how many these were.

    Safe to repeat. Retired devices are deleted instead.
    """
    devices = Device.objects.filter(allocated_to=key, **({"node__name": node} if node else {}))
    with transaction.atomic():
        devices.filter(retired=True).delete()
        released = devices.update(allocated_to="", allocated_since=None, team=None)
        if released:
            transitions.wake_on_commit()
    return released


def allocated_here(key: str) -> list[Device]:
    """Return the devices of `key` on this host."""
    return list(
        Device.objects.filter(allocated_to=key, node__name=host.name()).order_by("kind", "index")
    )


def device_environment(devices: Sequence[Device]) -> dict[str, str]:
    """Return the variables with which a program sees its own GPUs only; {} without devices."""
    if not devices:
        return {}
    gpus = [str(device.index) for device in devices if device.kind == Kind.CUDA]
    # CUDA's default order is by speed; nvidia-smi, which gave these indices, orders by PCI bus.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(gpus)}
