"""The unprivileged account that runs Postgres and Redis when the launcher runs as root.

Postgres refuses to run as root.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.launcher.errors import LauncherError


@dataclass(frozen=True)
class Account:
    """The user that runs the services.

    `switch` is true if processes must be started under this user because it is not ours.
    """

    uid: int
    gid: int
    switch: bool

    def popen(self) -> dict[str, Any]:
        """Return keyword arguments for `subprocess` that start a process under this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}

    def chown(self, path: Path) -> None:
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def can_enter(self, folder: Path) -> bool:
        """Return whether the account can enter `folder`."""
        # A process tries it, so that every parent folder, group and ACL counts.
        return not self.switch or self._succeeds(["/bin/sh", "-c", 'cd -- "$0"', str(folder)])

    def can_run(self, binary: Path) -> bool:
        return not self.switch or self._succeeds([str(binary), "--version"])

    def _succeeds(self, command: list[str]) -> bool:
        try:
            process = subprocess.run(command, cwd="/", capture_output=True, **self.popen())
        except OSError:
            return False
        return process.returncode == 0


def services_account() -> Account:
    """Return our own account; for root the system's user `postgres`, else `nobody`."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, switch=True)
    raise LauncherError(
        "Postgres cannot run as root and this system has no user 'postgres' or 'nobody'. "
        "Add one, or run as an ordinary user."
    )


def service_environment() -> dict[str, str]:
    """Return the environment of a service: without variables that would change what it does.

    Such variables are PGHOST and its like, the locale and preloaded libraries.
    """
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
