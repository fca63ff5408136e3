"""What this host is called, where its runs live and how many trainers it carries."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from pathlib import Path

from django.conf import settings

from webapp.base import environment

LEASE_SECONDS = float(environment.read().lease_seconds)
HEARTBEAT_SECONDS = LEASE_SECONDS / 6


def name() -> str:
    return os.environ.get("STILLROOM_HOST_NAME") or socket.gethostname()


def slots() -> int:
    """Trainers that may run here at once."""
    return int(os.environ.get("STILLROOM_SLOTS") or os.cpu_count() or 1)


def trainer_command() -> list[str]:
    """The program that carries runs out: our own, unless this host is told another one, such as
    that of another environment.
    """
    return shlex.split(os.environ.get("STILLROOM_TRAINER") or "") or [
        sys.executable,
        "-m",
        "trainer",
    ]


def runs_folder() -> Path:
    return Path(settings.STILLROOM_STATE) / "runs"


def run_folder(public_id: str) -> Path:
    return runs_folder() / public_id


def attempt_folder(public_id: str, attempt: int) -> Path:
    return run_folder(public_id) / "attempts" / str(attempt)
