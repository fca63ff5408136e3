"""Starts Postgres and Redis of this clone as children of the launcher."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from workers.launcher.child_process import ChildProcess
from workers.launcher.services import postgres, redis_server
from workers.launcher.services.account import service_environment
from workers.launcher.services.folders import Folders
from workers.launcher.services.postgres import Postgres
from workers.launcher.services.redis_server import Redis

STOP_SECONDS = 15.0


def start_postgres(folders: Folders) -> tuple[ChildProcess, str]:
    """Return the running server and its DATABASE_URL. Raises LauncherError if it cannot run."""
    server = Postgres(
        folders.programs,
        folders.services / "postgres",
        folders.sockets,
        folders.logs / "postgres.log",
        folders.account,
    )
    postgres.prepare(server)
    child = ChildProcess(
        "Postgres",
        server.command(),
        server.log,
        folders.sockets,
        service_environment(),
        folders.account.popen(),
        # Postgres' fast shutdown; on SIGTERM it would wait for its clients.
        signal.SIGINT,
    )
    with stopped_unless_ready(child):
        postgres.wait_until_ready(server, child.start())
    return child, server.url


def start_redis(folders: Folders) -> tuple[ChildProcess, str]:
    """Return the running server and its REDIS_URL. Raises LauncherError if it cannot run."""
    server = Redis(folders.programs, folders.sockets, folders.logs / "redis.log", folders.account)
    child = ChildProcess(
        "Redis",
        server.command(),
        server.log,
        folders.sockets,
        service_environment(),
        folders.account.popen(),
    )
    with stopped_unless_ready(child):
        redis_server.wait_until_ready(server, child.start())
    return child, server.url


@contextmanager
def stopped_unless_ready(child: ChildProcess) -> Iterator[None]:
    """Stop a service that does not become ready."""
    try:
        yield
    except BaseException:
        child.stop(STOP_SECONDS)
        raise
