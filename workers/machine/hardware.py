"""What this machine has: slots for processes on the CPU, memory, and GPUs as their driver lists
them (torch is never asked).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

import psutil

from workers.machine import host

QUERY = ["--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits"]
ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Found:
    """One device. `memory_bytes` is its own memory; None where it shares the machine's."""

    kind: str
    index: int
    name: str
    memory_bytes: int | None


def memory_bytes() -> int:
    return int(psutil.virtual_memory().total)


def devices() -> list[Found]:
    return [*(Found("cpu", index, "", None) for index in range(host.slots())), *_gpus()]


def _gpus() -> list[Found]:
    """Those that this process may see: all of the driver's, or the ones that CUDA_VISIBLE_DEVICES
    names. None without a driver.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        answer = subprocess.run(
            [program, *QUERY], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True
        ).stdout
    except (subprocess.SubprocessError, OSError):
        return []
    rows = [
        [part.strip() for part in line.split(",", 3)]
        for line in answer.splitlines()
        if line.count(",") >= 3
    ]
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    wanted = None if named is None else {part.strip() for part in named.split(",")}
    return [
        Found("cuda", int(index), name, int(memory) * 2**20 if memory.isdecimal() else None)
        for index, uuid, name, memory in rows
        if wanted is None or index in wanted or uuid in wanted
    ]
