"""Registers this host as a node: its hardware at the start, its heartbeat periodically."""

from __future__ import annotations

import os
import socket
import tomllib

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from webapp.base.environment import ROOT
from webapp.nodes.models import Device, Node
from workers.machine import hardware, host


def register() -> Node:
    """Record this host's hardware.

    Devices that it no longer has are removed, or retired while somebody still holds them.
    """
    devices = hardware.devices()
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    properties = {
        "address": _address(),
        "version": version,
        "cpus": os.cpu_count() or 1,
        "memory_bytes": hardware.memory_bytes(),
        "started_at": Now(),
        "heartbeat_at": Now(),
    }
    with transaction.atomic():
        node, _ = Node.objects.update_or_create(name=host.name(), defaults=properties)
        # Matches nothing, so that it can be extended with |=.
        present = Q(pk__in=[])
        for device in devices:
            Device.objects.update_or_create(
                node=node,
                kind=device.kind,
                index=device.index,
                defaults={
                    "name": device.name,
                    "memory_bytes": device.memory_bytes,
                    "retired": False,
                },
            )
            present |= Q(kind=device.kind, index=device.index)
        missing = Device.objects.filter(node=node).exclude(present)
        missing.filter(allocated_to="").delete()
        missing.update(retired=True)
    return node


def heartbeat() -> None:
    """Record that this host is alive; register it if it has no row, e.g. after it was forgotten."""
    if not Node.objects.filter(name=host.name()).update(heartbeat_at=Now()):
        register()


def _address() -> str:
    """Return the address at which other hosts reach this one."""
    address = os.environ.get("STILLROOM_ADDRESS")
    if address:
        return address
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
