"""The child processes of a launcher (or test session), recorded in a file.

If the launcher is killed, the next one finds and stops its children. A process is identified by its
pid and its start time, because the system may give the pid alone to another process.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

# Pid, and start time in Unix seconds.
ProcessId = tuple[int, float]
STOP_SECONDS = 20.0
# psutil derives start times from the boot time, which may shift.
START_TOLERANCE_SECONDS = 1.0


def record(path: Path, children: Mapping[str, int]) -> None:
    """Replace the record: this process as owner, and the pids of its children by label."""
    ids = {label: id_ for label, pid in children.items() if (id_ := _process_id(pid)) is not None}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({"owner": _process_id(os.getpid()), "children": ids}))
    # Atomic, because the health check of a container reads the file at any time.
    temporary.replace(path)


def owner_lives(path: Path) -> bool:
    content = _read(path)
    return content is not None and _find(content["owner"]) is not None


def dead(path: Path) -> list[str]:
    """Return the labels of recorded children that do not run.

    "the launcher" is one of them if it does not run itself, or its record is missing.
    """
    content = _read(path) or {"owner": [0, 0.0], "children": {}}
    ids = {"the launcher": content["owner"], **content["children"]}
    return [label for label, id_ in ids.items() if _find(id_) is None]


def stop(path: Path) -> list[str]:
    """Stop the recorded children that still run, remove the record and return their labels."""
    content = _read(path) or {"children": {}}
    running = {
        label: process
        for label, id_ in content["children"].items()
        if (process := _find(id_)) is not None
    }
    for label, process in running.items():
        # SIGINT is Postgres' fast shutdown; on SIGTERM it would wait for its clients.
        process.send_signal(signal.SIGINT) if label == "Postgres" else process.terminate()
    for process in psutil.wait_procs(running.values(), timeout=STOP_SECONDS)[1]:
        process.kill()
    path.unlink(missing_ok=True)
    return list(running)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _process_id(pid: int) -> ProcessId | None:
    try:
        return pid, psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def _find(id_: ProcessId) -> psutil.Process | None:
    """Return the living process; a zombie counts as dead."""
    pid, created = id_
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < START_TOLERANCE_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None
