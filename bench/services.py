"""A temporary Stillroom for a measurement: Postgres, Redis, tables and a web server."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from workers.launcher.services import account as accounts
from workers.launcher.services import folders, postgres, redis_server
from workers.launcher.services.postgres import Postgres
from workers.launcher.services.redis_server import Redis
from workers.launcher.web_server import uvicorn_arguments

CLONE = Path(__file__).resolve().parents[1]
START_SECONDS = 120


@contextmanager
def services(data: Path | None = None) -> Iterator[Path]:
    """Point this process and its children at a fresh, migrated database; yield the state folder.

    `data` is a private folder of the services' account that keeps the database; without it, the
    database is removed afterwards. Call this before Django is set up.
    """
    account = accounts.services_account()
    # Short, because it holds sockets, whose paths have about 100 characters at most.
    folder = Path("/tmp") / f"stillroom-bench-{os.getpid()}-{secrets.token_hex(3)}"
    folders.make_private(folder, account)
    programs = folders.reachable_programs(CLONE, account)
    cluster = (data or folder) / "postgres"
    database = Postgres(programs, cluster, folder, folder / "postgres.log", account)
    redis = Redis(programs, folder, folder / "redis.log", account)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres.prepare(database)
        plain = accounts.service_environment()
        postgres.wait_until_ready(
            database,
            stack.enter_context(
                process(database.command(), database.log, plain, "/", **account.popen())
            ),
        )
        redis_server.wait_until_ready(
            redis,
            stack.enter_context(process(redis.command(), redis.log, plain, "/", **account.popen())),
        )
        state = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="stillroom-state-", dir="/tmp"))
        )
        os.environ |= {
            "DATABASE_URL": database.url,
            "REDIS_URL": redis.url,
            "SECRET_KEY": secrets.token_urlsafe(32),
            "STILLROOM_ENV_FILE": str(state / "env"),
            "STILLROOM_STATE": str(state),
            "DJANGO_SETTINGS_MODULE": "webapp.settings",
        }
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--no-input", "--verbosity", "0"],
            cwd=CLONE,
            check=True,
        )
        yield state


@contextmanager
def web_server(log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address (`127.0.0.1:port`) and the process of a web server as the launcher starts it."""
    port = free_port()
    command = [sys.executable, "-m", *uvicorn_arguments("127.0.0.1", port), "--no-access-log"]
    with process(command, log, dict(os.environ), str(CLONE)) as server:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"http://127.0.0.1:{port}/healthz"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the web server did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield f"127.0.0.1:{port}", server


@contextmanager
def process(
    command: list[str], log: Path, environment: dict[str, str], folder: str, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A child that is interrupted at the end of the context; `options` go to Popen."""
    with log.open("ab") as stream:
        child: subprocess.Popen[bytes] = subprocess.Popen(
            command, stdout=stream, stderr=stream, cwd=folder, env=environment, **options
        )
    try:
        yield child
    finally:
        # SIGINT is Postgres' fast shutdown; on SIGTERM it would wait for its clients.
        child.send_signal(signal.SIGINT)
        child.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except OSError:
        return False
    return True
