"""What this host is called, where its runs live and how many trainers it carries."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from django.conf import settings

LEASE_SECONDS = 30.0
HEARTBEAT_SECONDS = 5.0


def name() -> str:
    return os.environ.get("STILLROOM_HOST_NAME") or socket.gethostname()


def slots() -> int:
    """Trainers that may run here at once."""
    return int(os.environ.get("STILLROOM_SLOTS") or os.cpu_count() or 1)


def run_folder(public_id: str) -> Path:
    return Path(settings.STILLROOM_STATE) / "runs" / public_id


def attempt_folder(public_id: str, attempt: int) -> Path:
    return run_folder(public_id) / "attempts" / str(attempt)
