"""Our own Postgres: made once in a data folder, reachable through a unix socket only, run in the
foreground as a child.

Whoever reaches the socket is let in, because the folder that holds it is closed to everybody else
(mode 700).
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

from workers.launcher import refusal
from workers.launcher.refusal import Refusal
from workers.launcher.services.account import Account, plain_environment
from workers.launcher.services.binaries import Binaries

USER = DATABASE = "stillroom"
MAJOR = "18"
FIRST_START_BYTES = 300 * 2**20
READY_SECONDS = 60.0
SOCKET_LOCK = ".s.PGSQL.5432.lock"


@dataclass(frozen=True)
class Postgres:
    """One server: its programs, its data folder, the folder of its socket, its log and the account
    it runs under.
    """

    programs: Binaries
    data: Path
    sockets: Path
    log: Path
    account: Account
    options: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"postgresql:///{DATABASE}?host={quote(str(self.sockets))}&user={USER}"

    def command(self) -> list[str]:
        settings = (
            "listen_addresses=",
            "unix_socket_permissions=0700",
            f"unix_socket_directories={self.sockets}",
            *self.options,
        )
        flags = [part for setting in settings for part in ("-c", setting)]
        return [str(self.programs.postgres("postgres")), "-D", str(self.data), *flags]


def prepare(server: Postgres, initdb_options: Sequence[str] = ()) -> None:
    """Leave a whole data folder that no server is using: made if there is none, checked if there is
    one.

    Raises Refusal when the folder is not one of ours, of another version, in use, or the disk is
    full.
    """
    if server.data.exists():
        _check(server)
        _clear_leftover(server)
        return
    _make(server, initdb_options)


def wait_until_ready(server: Postgres, process: subprocess.Popen[bytes]) -> None:
    """Return once the server answers. Raises Refusal if it ends or stays silent, with the last line
    of its log.
    """
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _answers(server):
            return
        time.sleep(0.05)
    raise refusal.of_silence("Postgres", server.log, server.data)


def _answers(server: Postgres) -> bool:
    probe = [
        str(server.programs.postgres("pg_isready")),
        "-q",
        "-h",
        str(server.sockets),
        "-U",
        USER,
        "-d",
        DATABASE,
    ]
    return subprocess.run(probe, cwd="/", **server.account.popen()).returncode == 0


def _make(server: Postgres, options: Sequence[str]) -> None:
    """Make the data folder under another name and give it its own only when it is whole."""
    partial = server.data.with_name(server.data.name + ".partial")
    try:
        _make_room(partial)
        server.account.give(partial)
        _initialise(server, partial, options)
        partial.rename(server.data)
    except OSError as error:
        raise refusal.of_os_error(error, "making the database folder") from error


def _make_room(partial: Path) -> None:
    if partial.exists():
        shutil.rmtree(partial)
    if shutil.disk_usage(partial.parent).free < FIRST_START_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(partial.parent))
    partial.mkdir(mode=0o700)


def _initialise(server: Postgres, folder: Path, options: Sequence[str]) -> None:
    """initdb, then the database itself through the single-user mode, so that a folder with its
    final name lacks nothing.
    """
    initdb = [
        str(server.programs.postgres("initdb")),
        "-D",
        str(folder),
        "-U",
        USER,
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
    ]
    single = [str(server.programs.postgres("postgres")), "--single", "-D", str(folder), "postgres"]
    for command, statement in (
        ([*initdb, *options], None),
        (single, f"CREATE DATABASE {DATABASE};\n"),
    ):
        done = subprocess.run(
            command,
            input=statement,
            text=True,
            capture_output=True,
            cwd="/",
            env=plain_environment(),
            **server.account.popen(),
        )
        if done.returncode:
            said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
            worst = next(
                (line for line in said if "error:" in line or "FATAL" in line),
                said[-1] if said else "it said nothing",
            )
            raise Refusal(
                f"The database folder {server.data} could not be made: {worst.strip()}. Mend that and start again."
            )


def _check(server: Postgres) -> None:
    marker = server.data / "PG_VERSION"
    if not marker.exists() or not (server.data / "global" / "pg_control").exists():
        raise Refusal(
            f"The database folder {server.data} is not whole (it lacks PG_VERSION or global/pg_control). "
            "Restore it from a backup, or move it away to begin with an empty database, and start again."
        )
    found = marker.read_text().strip()
    if found != MAJOR:
        raise Refusal(
            f"The database folder {server.data} was made by Postgres {found}, this is Postgres {MAJOR}. Upgrade it with pg_upgrade first."
        )


def _clear_leftover(server: Postgres) -> None:
    """Stop a server of an earlier launcher that was killed; forget a pid file whose process is gone
    or somebody else's.
    """
    pid_file = server.data / "postmaster.pid"
    if not pid_file.exists():
        return
    process = _process_on(server.data, pid_file)
    if process is None:
        pid_file.unlink()
        (server.sockets / SOCKET_LOCK).unlink(missing_ok=True)  # it names the same pid
        return
    process.send_signal(2)  # SIGINT: Postgres' fast shutdown
    try:
        process.wait(timeout=READY_SECONDS)
    except psutil.TimeoutExpired:
        raise Refusal(
            f"Another Postgres (pid {process.pid}) uses {server.data} and does not stop. Stop it with `kill -INT {process.pid}`."
        ) from None


def _process_on(data: Path, pid_file: Path) -> psutil.Process | None:
    """The Postgres that really runs on `data`: a pid alone proves nothing, it may have been given
    to another process.
    """
    try:
        process = psutil.Process(int(pid_file.read_text().split("\n", 1)[0]))
        return process if Path(process.cwd()).resolve() == data.resolve() else None
    except (ValueError, OSError, psutil.Error):
        return None
