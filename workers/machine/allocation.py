"""Lending devices: a claim is one conditional update that gets all it asks for or nothing, so that
a device has one holder.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from webapp.access.models import Team
from webapp.nodes.models import Device, Kind
from webapp.runs import lifecycle
from workers.machine import host

FREE = Q(allocated_to="", retired=False)


def claim(
    count: int, kind: str, holder: str, node: str | None = None, team: Team | None = None
) -> list[Device] | None:
    """Lend `count` free devices of `kind` on `node` (this host by default) to `holder`; None if
    fewer are free.

    `team` is whose work it is, for quotas and fair shares. A machine that is being drained is not
    asked here: `placement` decides that.
    """
    with transaction.atomic():
        free = Device.objects.select_for_update(skip_locked=True).filter(
            FREE, node__name=node or host.name(), kind=kind
        )
        chosen = list(free.order_by("index")[:count])
        mine = Device.objects.filter(FREE, pk__in=[device.pk for device in chosen])
        if (
            len(chosen) < count
            or mine.update(allocated_to=holder, allocated_since=Now(), team=team) != count
        ):
            transaction.set_rollback(True)
            return None
    return chosen


def release(holder: str, node: str | None = None) -> int:
    """Give back whatever `holder` has on `node`, or anywhere, and return how much that was; nothing
    happens the second time.
    """
    held = Device.objects.filter(allocated_to=holder, **({"node__name": node} if node else {}))
    with transaction.atomic():
        held.filter(retired=True).delete()
        given_back = held.update(allocated_to="", allocated_since=None, team=None)
        if given_back:
            lifecycle.wake()
    return given_back


def held_here(holder: str) -> list[Device]:
    """What `holder` has on this host."""
    return list(
        Device.objects.filter(allocated_to=holder, node__name=host.name()).order_by("kind", "index")
    )


def exported(lent: Sequence[Device]) -> dict[str, str]:
    """The environment in which a program sees its GPUs and no others; nothing for who was lent
    nothing.
    """
    if not lent:
        return {}
    gpus = [str(device.index) for device in lent if device.kind == Kind.CUDA]
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(gpus)}
