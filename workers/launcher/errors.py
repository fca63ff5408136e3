"""Why the launcher cannot continue: one sentence with what is wrong, where, and what to do."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

# Postgres needs room for one more segment of its write-ahead log.
FULL_BYTES = 16 * 2**20
TAIL_BYTES = 8192


class LauncherError(Exception):
    """Printed at the console as it is, without a stack trace."""


def from_os_error(error: OSError, action: str) -> LauncherError:
    """Describe an error of the operating system during `action`, e.g. "making the folders"."""
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LauncherError(
            f"The disk is full: {action} failed{where}. Free some space and start again."
        )
    failed = f"{action[:1].upper()}{action[1:]} failed{where}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return LauncherError(
            f"{failed}: no permission to write. "
            "Change the owner of that folder or run as its owner."
        )
    return LauncherError(f"{failed}: {error.strerror or error}.")


def service_not_started(service: str, log: Path, folder: Path) -> LauncherError:
    """Describe a service that did not start."""
    # The disk is checked first: if it is full, the service could not write its log either.
    if shutil.disk_usage(folder).free < FULL_BYTES:
        return LauncherError(
            f"The disk is full: {service} cannot write in {folder}. "
            "Free some space and start again."
        )
    reason = last_line(log) or "it printed nothing"
    return LauncherError(
        f"{service} did not start: {reason} (log: {log}). Fix that and start again."
    )


def last_line(log: Path) -> str:
    """Return the last line of a log that is not empty; "" if there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - TAIL_BYTES))
        text = stream.read().decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
