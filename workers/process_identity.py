"""Which process a pid belongs to: the system may give the pid of an ended one to another process.

The start time is the kernel's own, in seconds since boot. A start time in Unix seconds is derived
from the clock: once somebody has set the clock, every living process would look like another one.
Standard library only, because the exit recorder uses it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def process_started(pid: int) -> float | None:
    """Return when a process started, in seconds since boot; None if it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field, the program's name in brackets, may itself contain spaces and brackets.
    # After it come field 3 (the state) and, 19 fields later, field 22: the start time in ticks.
    state, *fields = stat[stat.rindex(")") + 2 :].split()
    # A zombie has ended; only its parent has not read the exit status yet.
    return None if state == "Z" else int(fields[18]) / CLOCK_TICKS


def boot_id() -> str:
    """Return a name that changes when the host restarts; "" if the kernel gives none."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def identity(pid: int) -> dict[str, Any]:
    """Return what `is_alive` needs, as JSON; `started` is None if the process has ended."""
    return {"pid": pid, "started": process_started(pid), "boot": boot_id()}


def is_alive(recorded: Mapping[str, Any]) -> bool:
    """Return whether the process of an earlier `identity` still runs."""
    # Earlier versions recorded no boot; their trainers run through an upgrade.
    same_boot = recorded.get("boot", boot_id()) == boot_id()
    started = recorded["started"]
    return same_boot and started is not None and process_started(recorded["pid"]) == started
