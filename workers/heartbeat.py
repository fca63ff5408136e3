"""Signs of life of the launcher and its processes: a file whose own time is that of the last one.

The time is the monotonic clock's, which all processes of a host share and nobody sets. Only the
file's time changes, so that a full disk stops no sign. Standard library only: the launcher reads
the files that worker and sweep write.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

VARIABLE = "STILLROOM_HEARTBEAT"
PERIOD_SECONDS = 5.0
# Taken out of the environment: the processes that this one starts are not watched.
_own_file = os.environ.pop(VARIABLE, "")


def beat(within: float = 0.0) -> None:
    """Give a sign of life; the next one may come `within` so many seconds more than usual.

    A process that no launcher has started gives none.
    """
    if _own_file:
        # The launcher's folder may be gone, which must not end this process.
        with suppress(OSError):
            beat_for(Path(_own_file), within)


def beat_for(file: Path, within: float = 0.0) -> None:
    """Give a sign of life for the process of `file`, which is made if it is missing."""
    moment = time.monotonic() + within
    try:
        os.utime(file, (moment, moment))
    except FileNotFoundError:
        # Under another name first: a new file has the time of the other clock.
        new_file = file.with_name(f".{file.name}")
        new_file.touch()
        os.utime(new_file, (moment, moment))
        new_file.rename(file)


def last(file: Path) -> float:
    """Return the `time.monotonic()` of the last sign; 0.0 if there was none."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
