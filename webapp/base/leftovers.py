"""Removal of the files that uploads of a killed web process left behind.

Each web process holds a shared lock on the folder while it lives. One that gets the lock alone
knows that nobody uses what is in the folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path


def remove(folder: Path) -> int:
    """Empty `folder`, unless another process uses it; return the descriptor of the lock."""
    lock = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        _empty(folder)
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def _empty(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry, ignore_errors=True)
        else:
            os.unlink(entry)
