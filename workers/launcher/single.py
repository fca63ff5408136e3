"""One launcher per clone: a lock that the system itself lets go when its holder dies, however it
dies.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.launcher.refusal import Refusal


@contextmanager
def only(path: Path, address: str) -> Iterator[None]:
    """Hold the lock and say in it where we are. Raises Refusal naming the running launcher's
    address.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with open(descriptor, "r+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal(_already(stream.read())) from None
        stream.truncate(0)
        stream.write(json.dumps({"pid": os.getpid(), "address": address}))
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


def _already(text: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return (
            "Stillroom is already starting or stopping in this folder. Wait for it, then try again."
        )
    where = f"(pid {found['pid']}) at {found['address']}"
    return f"Stillroom is already running here {where}. Stop that one first with Ctrl-C or `kill {found['pid']}`."
