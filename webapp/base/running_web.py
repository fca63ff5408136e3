"""Where the web of this installation runs now: the launcher writes it down while it runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

# Beside the file of settings. The launcher holds a lock on it (workers/launcher/launcher_lock.py)
# and writes {"pid": …, "address": "http://127.0.0.1:8001/"}.
LOCK_FILE = "launcher.lock"


def listening(folder: Path) -> tuple[str, int] | None:
    """Return the host and the port that the running launcher's web listens at; None without one."""
    try:
        content = json.loads((folder / LOCK_FILE).read_text(encoding="utf-8"))
        host, _, port = content["address"].removeprefix("http://").rstrip("/").rpartition(":")
        # A launcher that was killed leaves its file. Signal 0 only asks whether the process exists.
        os.kill(content["pid"], 0)
        return host, int(port)
    except PermissionError:
        # The process of another user.
        return host, int(port)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
