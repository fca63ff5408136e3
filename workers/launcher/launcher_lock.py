"""One launcher per clone: a file lock that the kernel releases however its process dies."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.launcher.errors import LauncherError


@contextmanager
def hold_lock(path: Path, address: str) -> Iterator[None]:
    """Hold the lock file and write our pid and address into it.

    Raises LauncherError with the address of the running launcher if another one holds the lock.
    """
    # Without O_TRUNC: opening the file must not erase what the running launcher has written.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with open(descriptor, "r+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LauncherError(_already_running(stream.read())) from None
        stream.truncate(0)
        stream.write(json.dumps({"pid": os.getpid(), "address": address}))
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


def _already_running(text: str) -> str:
    try:
        owner = json.loads(text)
    except ValueError:  # the other launcher has the lock, and has not written its address yet
        return (
            "Stillroom is already starting or stopping in this folder. Wait for it, then try again."
        )
    return (
        f"Stillroom is already running here (pid {owner['pid']}) at {owner['address']}. "
        f"Stop that one first with Ctrl-C or `kill {owner['pid']}`."
    )
