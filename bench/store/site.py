"""A private Postgres with the tables, and web servers over HTTP."""

from __future__ import annotations

import http.client
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.services import answers
from bench.turns import ROOT
from workers.launcher.services import account as accounts
from workers.launcher.services import folders, postgres
from workers.launcher.services.postgres import Postgres


@contextmanager
def database() -> Iterator[Postgres]:
    """A fresh server with its usual settings, to which Django is connected, with all tables."""
    account = accounts.services_account()
    folder = Path(tempfile.mkdtemp(prefix="stillroom-bench-", dir="/tmp"))
    shutil.rmtree(folder)
    folders.make_private(folder, account)
    server = Postgres(
        folders.reachable_programs(ROOT, account),
        folder / "postgres",
        folder,
        folder / "log",
        account,
        ("max_wal_size=4GB",),
    )
    postgres.prepare(server)
    process = subprocess.Popen(
        server.command(),
        cwd="/",
        env=accounts.service_environment(),
        stderr=subprocess.DEVNULL,
        **account.popen(),
    )
    try:
        postgres.wait_until_ready(server, process)
        os.environ |= {
            "DATABASE_URL": server.url,
            # Nothing listens there: charts need no notifications.
            "REDIS_URL": "redis://127.0.0.1:1",
            "SECRET_KEY": secrets.token_urlsafe(32),
            "STILLROOM_STATE": str(folder / "state"),
            "DJANGO_SETTINGS_MODULE": "webapp.settings",
        }
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def serving(
    command: Sequence[str], port: int, ready: str, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """`command` runs while the context is open; it is ready when the path `ready` answers."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not answers(f"http://127.0.0.1:{port}{ready}"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command)} does not answer")
            time.sleep(0.2)
        yield
    finally:
        # The whole group, because not all servers end their workers on SIGTERM.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def web(port: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "uvicorn",
        "webapp.asgi:application",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]


class Caller:
    """Makes a connection for each call, as servers drop idle ones after seconds."""

    def __init__(self, port: int, headers: Mapping[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self._headers = dict(headers or {})

    def timed(self, method: str, path: str, body: bytes | None = None) -> tuple[float, bytes]:
        """Seconds until the whole answer was here, and the answer."""
        self._connection.close()
        began = time.perf_counter()
        self._connection.request(
            method,
            path,
            body,
            {**self._headers, **({"Content-Type": "application/json"} if body else {})},
        )
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path} answers {answer.status}: {content[:500]!r}")
        return time.perf_counter() - began, content
