"""Postgres and Redis of this clone as children of the launcher; either is left out when its address
is given from outside.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from workers.launcher.children import Child
from workers.launcher.services import postgres, redis_server
from workers.launcher.services.account import plain_environment
from workers.launcher.services.folders import Folders
from workers.launcher.services.postgres import Postgres
from workers.launcher.services.redis_server import Redis

STOP_SECONDS = 15.0


def start_postgres(folders: Folders) -> tuple[Child, str]:
    """The running server and its DATABASE_URL. Raises Refusal if it cannot run."""
    server = Postgres(
        folders.programs,
        folders.services / "postgres",
        folders.sockets,
        folders.logs / "postgres.log",
        folders.account,
    )
    postgres.prepare(server)
    child = Child(
        "Postgres",
        server.command(),
        server.log,
        folders.sockets,
        plain_environment(),
        folders.account.popen(),
        signal.SIGINT,
    )
    with ended_unless_ready(child):
        postgres.wait_until_ready(server, child.start())
    return child, server.url


def start_redis(folders: Folders) -> tuple[Child, str]:
    """The running server and its REDIS_URL. Raises Refusal if it cannot run."""
    server = Redis(folders.programs, folders.sockets, folders.logs / "redis.log", folders.account)
    child = Child(
        "Redis",
        server.command(),
        server.log,
        folders.sockets,
        plain_environment(),
        folders.account.popen(),
    )
    with ended_unless_ready(child):
        redis_server.wait_until_ready(server, child.start())
    return child, server.url


@contextmanager
def ended_unless_ready(child: Child) -> Iterator[None]:
    """A service that does not become ready is not left running."""
    try:
        yield
    except BaseException:
        child.stop(STOP_SECONDS)
        raise
