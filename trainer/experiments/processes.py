"""Runs and base students are processes of their own, whose CPU time is stored beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FILE = "cpu.json"


def run_and_record(arguments: Sequence[str], folder: Path) -> int:
    """Run this Python with `arguments`; return its exit code.

    If it ends well, write its CPU time to `folder`, which it may have made itself.
    """
    # One thread each: a result must not depend on how many run at a time.
    process = subprocess.Popen(
        [sys.executable, *arguments], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    # Of this process and what it waited for; RUSAGE_CHILDREN would add those of other threads.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode == 0:
        minutes = (usage.ru_utime + usage.ru_stime) / 60
        (folder / FILE).write_text(json.dumps({"cpu_minutes": minutes}), encoding="utf-8")
    return process.returncode


def cpu_minutes(folder: Path) -> float | None:
    """The CPU time of what was made in `folder`; None if it was not recorded."""
    path = folder / FILE
    if not path.is_file():
        return None
    return float(json.loads(path.read_text(encoding="utf-8"))["cpu_minutes"])
