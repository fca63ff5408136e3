"""Starts processes of this package that outlive their starter: at most one per lock file."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

from workers.attempt.trainer_process import REPOSITORY


def start_detached(folder: Path, name: str, *arguments: str) -> bool:
    """Start `python -m workers ARGUMENTS` in a session of its own, with its output in NAME.log.

    Returns False if such a process still holds `NAME.lock` in `folder`. The lock is taken here and
    inherited by the process, so it is held without a gap until that process dies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        (folder / f"{name}.lock").open("ab") as lock,
        (folder / f"{name}.log").open("ab") as output,
    ):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        subprocess.Popen(
            [sys.executable, "-m", "workers", *arguments],
            # `-m` looks for the package in the current folder.
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
    return True
