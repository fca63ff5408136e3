"""This host among the machines of the installation: what it has is written down once, its heartbeat
again and again.
"""

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
    """Write down what this host has. Devices that it no longer has are removed, or retired as long
    as somebody holds them.
    """
    found = hardware.devices()
    facts = {
        "address": _address(),
        "version": _version(),
        "cpus": os.cpu_count() or 1,
        "memory_bytes": hardware.memory_bytes(),
    }
    now = {"started_at": Now(), "heartbeat_at": Now()}
    with transaction.atomic():
        node, _ = Node.objects.update_or_create(name=host.name(), defaults={**facts, **now})
        there = Q(pk__in=[])
        for device in found:
            described = {"name": device.name, "memory_bytes": device.memory_bytes, "retired": False}
            Device.objects.update_or_create(
                node=node, kind=device.kind, index=device.index, defaults=described
            )
            there |= Q(kind=device.kind, index=device.index)
        gone = Device.objects.filter(node=node).exclude(there)
        gone.filter(allocated_to="").delete()
        gone.update(retired=True)
    return node


def beat() -> None:
    """Show that this host lives; one that nobody knows yet is registered."""
    if not Node.objects.filter(name=host.name()).update(heartbeat_at=Now()):
        register()


def _address() -> str:
    """Where other hosts reach this one."""
    given = os.environ.get("STILLROOM_ADDRESS")
    if given:
        return given
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"


def _version() -> str:
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version
