"""Why the launcher will not go on: one sentence that says what is wrong, where, and what to do."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

FULL_BYTES = 16 * 2**20  # one segment of Postgres' log


class Refusal(Exception):
    """Shown to the person at the console as it is, without a stack trace."""


def of_os_error(error: OSError, doing: str) -> Refusal:
    """The sentence for an error of the operating system while `doing` something, e.g. "making the
    database folder".
    """
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refusal(f"The disk is full: {doing} failed{where}. Free some space and start again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Refusal(
            f"{doing[:1].upper()}{doing[1:]} failed{where}: no permission to write. Change the owner of that folder or run as its owner."
        )
    return Refusal(f"{doing[:1].upper()}{doing[1:]} failed{where}: {error.strerror or error}.")


def of_silence(who: str, log: Path, folder: Path) -> Refusal:
    """The sentence for a service that did not start; a full disk explains it best, because then its
    log could not be written either.
    """
    if shutil.disk_usage(folder).free < FULL_BYTES:
        return Refusal(
            f"The disk is full: {who} cannot write in {folder}. Free some space and start again."
        )
    return Refusal(
        f"{who} did not start: {last_line(log) or 'it said nothing'} (log: {log}). Mend that and start again."
    )


def last_line(log: Path) -> str:
    """The last line of a log that says something, for the sentence that names the log."""
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 8192))
        lines = [
            line.strip()
            for line in stream.read().decode(errors="replace").splitlines()
            if line.strip()
        ]
    return lines[-1] if lines else ""
