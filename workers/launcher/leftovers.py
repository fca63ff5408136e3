"""Which processes belong to whom, on disk: so that what a killed launcher (or test session) left
behind is found and stopped.

A process is named by its pid and its start time, because a pid alone may have been given to a
stranger since.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

Name = tuple[int, float]  # pid, start time in unix seconds
STOP_SECONDS = 20.0


def record(path: Path, children: Mapping[str, int]) -> None:
    """Write down ourselves as owner and the pids of our children, replacing the earlier record
    whole.
    """
    named = {label: name for label, pid in children.items() if (name := _name_of(pid)) is not None}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({"owner": _name_of(os.getpid()), "children": named}))
    temporary.replace(path)


def owner_lives(path: Path) -> bool:
    found = _read(path)
    return found is not None and _find(found["owner"]) is not None


def dead(path: Path) -> list[str]:
    """The recorded children that do not run, and "the launcher" where its record is missing or it
    is gone itself.
    """
    found = _read(path) or {"owner": [0, 0.0], "children": {}}
    named = {"the launcher": found["owner"], **found["children"]}
    return [label for label, name in named.items() if _find(name) is None]


def stop(path: Path) -> list[str]:
    """Stop the recorded children that still run and remove the record; the labels of those that
    were stopped.
    """
    found = _read(path) or {"children": {}}
    running = {
        label: process
        for label, name in found["children"].items()
        if (process := _find(name)) is not None
    }
    for label, process in running.items():
        # SIGINT is Postgres' fast shutdown; its SIGTERM would wait for clients.
        process.send_signal(2) if label == "Postgres" else process.terminate()
    for process in psutil.wait_procs(running.values(), timeout=STOP_SECONDS)[1]:
        process.kill()
    path.unlink(missing_ok=True)
    return list(running)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _name_of(pid: int) -> Name | None:
    try:
        return pid, psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def _find(name: Name) -> psutil.Process | None:
    """The living process of that name; a zombie is dead."""
    pid, created = name
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < 1.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None
