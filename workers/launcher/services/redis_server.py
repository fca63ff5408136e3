"""Our own Redis on a unix socket.

It stores nothing on disk: its messages are only notifications. If one is lost, the sweep finds the
work in Postgres.
"""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from workers.launcher import errors
from workers.launcher.services.account import Account
from workers.launcher.services.binaries import Binaries

READY_SECONDS = 30.0


@dataclass(frozen=True)
class Redis:
    """One server: its programs, the folder of its socket, its log and its account."""

    programs: Binaries
    sockets: Path
    log: Path
    account: Account

    @property
    def socket(self) -> Path:
        return self.sockets / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}?db=0"

    def command(self) -> list[str]:
        flags = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "dir": str(self.sockets),
        }
        return [
            str(self.programs.redis_server),
            *(argument for name, value in flags.items() for argument in (f"--{name}", value)),
        ]


def wait_until_ready(server: Redis, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers PING. Raises LauncherError if it exits or does not answer."""
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _answers(server.socket):
            return
        time.sleep(0.02)
    raise errors.service_not_started("Redis", server.log, server.sockets)


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(7).startswith(b"+PONG")
    except OSError:
        return False
