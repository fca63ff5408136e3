"""What a run asks for, read from its definition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNITS = {"cpu": ("CPU slot", "CPU slots"), "cuda": ("GPU", "GPUs")}


@dataclass(frozen=True)
class Request:
    """`devices` of `kind` on each of `nodes` machines; `memory` in bytes for each device, 0 where
    nobody knows.

    The kind `auto` means a GPU where some machine has enough of them, else the CPU.
    """

    devices: int = 1
    kind: str = "auto"
    nodes: int = 1
    memory: int = 0


def request_of(spec: Mapping[str, Any], memory: int | None = None) -> Request:
    """One device for each process on each machine; a definition that says nothing of it asks for
    one device of either kind.
    """
    compute = spec.get("compute") or {}
    devices, nodes = (int(compute.get(name) or 1) for name in ("processes", "nodes"))
    return Request(devices, str(compute.get("device") or "auto"), nodes, memory or 0)


def counted(count: int, kind: str) -> str:
    """`1 GPU`, `2 CPU slots`."""
    return f"{count:,} {UNITS[kind][count != 1]}"
