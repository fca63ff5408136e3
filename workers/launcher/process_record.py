"""The child processes of a launcher (or test session), recorded in a file.

If the launcher is killed, the next one finds and stops its children.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from workers import heartbeat
from workers.process_identity import identity, is_alive

STOP_SECONDS = 20.0
NOBODY = {"pid": 0, "started": None}
LAUNCHER = "the launcher"
# Folder of the heartbeats, beside the record; a file for each label.
HEARTBEATS = "heartbeats"


def record(path: Path, children: Mapping[str, int]) -> None:
    """Replace the record: this process as owner, and the pids of its children by label."""
    ids = {label: identity(pid) for label, pid in children.items()}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({"owner": identity(os.getpid()), "children": ids}))
    # Atomic, because the health check of a container reads the file at any time.
    temporary.replace(path)


def owner_lives(path: Path) -> bool:
    return is_alive(_read(path)["owner"])


def dead(path: Path) -> list[str]:
    """Return the labels of recorded children that do not run.

    "the launcher" is one of them if it does not run itself, or its record is missing.
    """
    content = _read(path)
    ids = {LAUNCHER: content["owner"], **content["children"]}
    return [label for label, id_ in ids.items() if not is_alive(id_)]


def hung(path: Path, seconds: float) -> list[str]:
    """Return the labels of those whose last sign of life is more than `seconds` ago."""
    files = sorted((path.parent / HEARTBEATS).glob("[!.]*"))
    now = time.monotonic()
    return [file.name for file in files if now - heartbeat.last(file) > seconds]


def stop(path: Path) -> list[str]:
    """Stop the recorded children that still run, remove the record and return their labels."""
    running = {}
    for label, id_ in _read(path)["children"].items():
        # It may end between the two lines.
        with suppress(psutil.NoSuchProcess):
            if is_alive(id_):
                running[label] = psutil.Process(id_["pid"])
    for label, process in running.items():
        # SIGINT is Postgres' fast shutdown; on SIGTERM it would wait for its clients.
        process.send_signal(signal.SIGINT) if label == "Postgres" else process.terminate()
    for process in psutil.wait_procs(running.values(), timeout=STOP_SECONDS)[1]:
        process.kill()
    path.unlink(missing_ok=True)
    return list(running)


def _read(path: Path) -> dict[str, Any]:
    """Return the record; one of nobody if it is missing, damaged or of an earlier version."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        ids = [content["owner"], *content["children"].values()]
        if all(id_.keys() >= NOBODY.keys() for id_ in ids):
            return content
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return {"owner": NOBODY, "children": {}}
