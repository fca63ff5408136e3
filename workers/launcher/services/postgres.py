"""Our own Postgres: a data folder made once, and a server that listens on a unix socket only.

Every connection through the socket is trusted, because nobody else can enter the folder that holds
it (mode 700).
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

from workers.launcher import errors
from workers.launcher.errors import LauncherError
from workers.launcher.services.account import Account, service_environment
from workers.launcher.services.binaries import Binaries

USER = DATABASE = "stillroom"
MAJOR = "18"
# Free space that a new data folder and its first write-ahead log need.
FIRST_START_BYTES = 300 * 2**20
READY_SECONDS = 60.0
SOCKET_LOCK = ".s.PGSQL.5432.lock"


@dataclass(frozen=True)
class Postgres:
    """One server: its programs, data folder, socket folder, log and account.

    `options` are further settings in the form `name=value`.
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
        flags = [argument for setting in settings for argument in ("-c", setting)]
        return [str(self.programs.postgres("postgres")), "-D", str(self.data), *flags]


def prepare(server: Postgres, initdb_options: Sequence[str] = ()) -> None:
    """Make the data folder if it is missing, else check it and stop a server that still uses it.

    Raises LauncherError if the folder is damaged, of another version or in use, or the disk is
    full.
    """
    if server.data.exists():
        _check(server)
        _stop_earlier_server(server)
    else:
        _make(server, initdb_options)


def wait_until_ready(server: Postgres, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers. Raises LauncherError if it exits or does not answer."""
    program, sockets = server.programs.postgres("pg_isready"), str(server.sockets)
    probe = [str(program), "-q", "-h", sockets, "-U", USER, "-d", DATABASE]
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        # In /, because the account may be unable to enter the current folder.
        if subprocess.run(probe, cwd="/", **server.account.popen()).returncode == 0:
            return
        time.sleep(0.05)
    raise errors.service_not_started("Postgres", server.log, server.data)


def _make(server: Postgres, options: Sequence[str]) -> None:
    """Make the data folder under another name and rename it once it is complete."""
    partial = server.data.with_name(server.data.name + ".partial")
    try:
        if partial.exists():
            shutil.rmtree(partial)
        if shutil.disk_usage(partial.parent).free < FIRST_START_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(partial.parent))
        partial.mkdir(mode=0o700)
        server.account.chown(partial)
        _initialise(server, partial, options)
        partial.rename(server.data)
    except OSError as error:
        raise errors.from_os_error(error, "making the database folder") from error


def _initialise(server: Postgres, folder: Path, options: Sequence[str]) -> None:
    """Run initdb, then create the database in single-user mode, before any server runs.

    Raises LauncherError with the program's error message if one of them fails.
    """
    initdb = [str(server.programs.postgres("initdb")), "-D", str(folder), "-U", USER]
    initdb += ["--auth=trust", "--encoding=UTF8", "--locale=C"]
    single = [str(server.programs.postgres("postgres")), "--single", "-D", str(folder), "postgres"]
    for command, statement in (
        ([*initdb, *options], None),
        (single, f"CREATE DATABASE {DATABASE};\n"),
    ):
        process = subprocess.run(
            command,
            input=statement,
            text=True,
            capture_output=True,
            cwd="/",
            env=service_environment(),
            **server.account.popen(),
        )
        if process.returncode:
            output = process.stderr + process.stdout
            lines = [line for line in output.splitlines() if line.strip()]
            reason = next(
                (line for line in lines if "error:" in line or "FATAL" in line),
                lines[-1] if lines else "it printed nothing",
            )
            raise LauncherError(
                f"The database folder {server.data} could not be made: {reason.strip()}. "
                "Fix that and start again."
            )


def _check(server: Postgres) -> None:
    marker = server.data / "PG_VERSION"
    if not marker.exists() or not (server.data / "global" / "pg_control").exists():
        raise LauncherError(
            f"The database folder {server.data} is not whole "
            "(it lacks PG_VERSION or global/pg_control). Restore it from a backup, "
            "or move it away to begin with an empty database, and start again."
        )
    version = marker.read_text().strip()
    if version != MAJOR:
        raise LauncherError(
            f"The database folder {server.data} was made by Postgres {version}, "
            f"this is Postgres {MAJOR}. Upgrade it with pg_upgrade first."
        )


def _stop_earlier_server(server: Postgres) -> None:
    """Stop the server of an earlier launcher that was killed; remove the pid file of a dead one.

    Raises LauncherError if that server does not stop.
    """
    pid_file = server.data / "postmaster.pid"
    if not pid_file.exists():
        return
    process = _process_on(server.data, pid_file)
    if process is None:
        pid_file.unlink()
        # It names the same pid.
        (server.sockets / SOCKET_LOCK).unlink(missing_ok=True)
        return
    # Postgres' fast shutdown; on SIGTERM it would wait for its clients.
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=READY_SECONDS)
    except psutil.TimeoutExpired:
        raise LauncherError(
            f"Another Postgres (pid {process.pid}) uses {server.data} and does not stop. "
            f"Stop it with `kill -INT {process.pid}`."
        ) from None


def _process_on(data: Path, pid_file: Path) -> psutil.Process | None:
    """Return the Postgres that runs on `data`; None if the pid now belongs to another process."""
    try:
        process = psutil.Process(int(pid_file.read_text().split("\n", 1)[0]))
        return process if Path(process.cwd()).resolve() == data.resolve() else None
    except (ValueError, OSError, psutil.Error):
        return None
