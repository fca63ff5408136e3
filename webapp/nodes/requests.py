"""The devices that a run needs, read from its definition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNITS = {"cpu": ("CPU slot", "CPU slots"), "cuda": ("GPU", "GPUs")}


@dataclass(frozen=True)
class DeviceRequest:
    """`devices` of `kind` on each of `nodes` machines; `memory` in bytes per device, 0 if unknown.

    The kind `auto` means GPUs if enough machines have them, else CPU slots.
    """

    devices: int = 1
    kind: str = "auto"
    nodes: int = 1
    memory: int = 0


def request_of(spec: Mapping[str, Any], memory: int | None = None) -> DeviceRequest:
    """Return one device for each process on each machine; the default is one of either kind."""
    compute = spec.get("compute") or {}
    devices, nodes = (int(compute.get(name) or 1) for name in ("processes", "nodes"))
    return DeviceRequest(devices, str(compute.get("device") or "auto"), nodes, memory or 0)


def counted(count: int, kind: str) -> str:
    """Return a count with its unit: `1 GPU`, `2 CPU slots`."""
    return f"{count:,} {UNITS[kind][count != 1]}"
