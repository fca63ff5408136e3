"""This host: its name, the folders of its runs, how many trainers it may run, its lease period."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from pathlib import Path

from django.conf import settings

from webapp.base import environment

LEASE_SECONDS = float(environment.read().lease_seconds)
# Several heartbeats may get lost before a lease expires.
HEARTBEAT_SECONDS = LEASE_SECONDS / 6


def name() -> str:
    return os.environ.get("STILLROOM_HOST_NAME") or socket.gethostname()


def slots() -> int:
    """Return how many trainers may run on this host's CPU at once."""
    return int(os.environ.get("STILLROOM_SLOTS") or os.cpu_count() or 1)


def trainer_command() -> list[str]:
    """Return the command of the trainer: ours, or STILLROOM_TRAINER, e.g. of another venv."""
    command = shlex.split(os.environ.get("STILLROOM_TRAINER") or "")
    return command or [sys.executable, "-m", "trainer"]


def runs_folder() -> Path:
    return Path(settings.STILLROOM_STATE) / "runs"


def restored_checkpoints_folder() -> Path:
    """Return the folder of checkpoints that jobs on this machine read, by run."""
    return Path(settings.STILLROOM_STATE) / "checkpoints"


def run_folder(public_id: str) -> Path:
    return runs_folder() / public_id


def attempt_folder(public_id: str, attempt: int) -> Path:
    return run_folder(public_id) / "attempts" / str(attempt)
