"""The hardware of this machine: CPU slots, memory, and GPUs as their driver lists them.

torch is not used, because importing it takes seconds and CUDA contexts take GPU memory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

import psutil

from workers.machine import host

QUERY = ["--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits"]
# Without its persistence mode the driver is loaded by the query.
QUERY_SECONDS = 30.0


@dataclass(frozen=True)
class DetectedDevice:
    """One device. `memory_bytes` is its own memory; None if it shares the machine's."""

    kind: str
    index: int
    name: str
    memory_bytes: int | None


def memory_bytes() -> int:
    return int(psutil.virtual_memory().total)


def devices() -> list[DetectedDevice]:
    return [*(DetectedDevice("cpu", index, "", None) for index in range(host.slots())), *_gpus()]


def _gpus() -> list[DetectedDevice]:
    """Return the driver's GPUs, limited to CUDA_VISIBLE_DEVICES if that is set; [] if no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        output = subprocess.run(
            [program, *QUERY], capture_output=True, text=True, timeout=QUERY_SECONDS, check=True
        ).stdout
    except (subprocess.SubprocessError, OSError):
        return []
    rows = [
        [cell.strip() for cell in line.split(",", 3)]
        for line in output.splitlines()
        if line.count(",") >= 3
    ]
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    # The variable may name GPUs by index or by UUID.
    visible = None if variable is None else {name.strip() for name in variable.split(",")}
    return [
        DetectedDevice(
            # A device that shares the memory of the machine reports no number.
            "cuda",
            int(index),
            name,
            int(memory) * 2**20 if memory.isdecimal() else None,
        )
        for index, uuid, name, memory in rows
        if visible is None or index in visible or uuid in visible
    ]
