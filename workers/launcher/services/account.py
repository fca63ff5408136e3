"""The unprivileged account that runs Postgres and Redis when the launcher runs as root (Postgres
refuses to run as root).
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.launcher.refusal import Refusal


@dataclass(frozen=True)
class Account:
    """Who runs the services. `switch` says that processes must be started under this user rather
    than ours.
    """

    uid: int
    gid: int
    switch: bool

    def popen(self) -> dict[str, Any]:
        """Keyword arguments for `subprocess` that start a process under this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}

    def give(self, path: Path) -> None:
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def can_enter(self, folder: Path) -> bool:
        """Whether the account reaches `folder`: the system itself is asked, so that every parent,
        group and ACL counts.
        """
        if not self.switch:
            return True
        return self._succeeds(["/bin/sh", "-c", 'cd -- "$0"', str(folder)])

    def can_run(self, binary: Path) -> bool:
        return not self.switch or self._succeeds([str(binary), "--version"])

    def _succeeds(self, command: list[str]) -> bool:
        try:
            return (
                subprocess.run(command, cwd="/", capture_output=True, **self.popen()).returncode
                == 0
            )
        except OSError:
            return False


def of_services() -> Account:
    """Ourselves, or as root the system's `postgres` or `nobody` user."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, switch=True)
    raise Refusal(
        "Postgres cannot run as root and this system has no user 'postgres' or 'nobody'. Add one, or run as an ordinary user."
    )


def plain_environment() -> dict[str, str]:
    """What a service gets from our environment: nothing that would steer it (PG…, locale,
    preloads).
    """
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
