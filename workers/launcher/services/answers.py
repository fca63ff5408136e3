"""Whether Postgres and Redis answer, at whatever address; asked without their client libraries."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from webapp.base import environment
from workers.launcher.errors import LauncherError
from workers.launcher.services.binaries import find_installed

SECONDS = 3
# pg_isready: 1 rejects connections, as while it starts; 2 does not respond. With 3 it could not
# ask, which says nothing about the server.
DOES_NOT_ANSWER = (1, 2)


def services_answer() -> bool:
    """Return whether both do, at the addresses of the settings; also False if nobody can ask."""
    try:
        settings = environment.read()
        return redis_answers(settings.redis_url) and postgres_answers(
            settings.database_url, find_installed().postgres("pg_isready")
        )
    except (OSError, environment.ConfigurationError, LauncherError):
        return False


def postgres_answers(url: str, pg_isready: Path) -> bool:
    command = [str(pg_isready), "--quiet", f"--timeout={SECONDS}", f"--dbname={url}"]
    return subprocess.run(command, cwd="/", capture_output=True).returncode not in DOES_NOT_ANSWER


def redis_answers(url: str) -> bool:
    """Any reply to PING counts, also that a password is missing; with TLS, that it accepts."""
    parts = urlsplit(url)
    try:
        with _connected(parts) as connection:
            if parts.scheme == "rediss":
                return True
            connection.sendall(b"PING\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


def _connected(parts: SplitResult) -> socket.socket:
    if parts.scheme != "unix":
        address = (parts.hostname or "localhost", parts.port or 6379)
        return socket.create_connection(address, timeout=SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(SECONDS)
    try:
        connection.connect(unquote(parts.path))
    except OSError:
        connection.close()
        raise
    return connection
