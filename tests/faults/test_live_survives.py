"""Web and Redis are killed while a page follows a run: the page reconnects without gaps."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests import services
from tests.faults.follower import Follower
from tests.webapp.conftest import SPEC, member
from tests.webapp.logs import losses
from webapp.access.models import Role, Team
from webapp.base import notify
from webapp.ingest import event_log
from webapp.runs import leases, lifecycle
from webapp.runs.models import Run
from workers.launcher.services import account, folders, redis_server
from workers.launcher.services.redis_server import Redis
from workers.launcher.web_server import LARGEST_MESSAGE, uvicorn_arguments

CLONE = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0


class Killable:
    """A server process that can be killed and restarted at the same address."""

    def __init__(self, command: list[str], **options: Any) -> None:
        self.command, self.options = command, options
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(self.command, **self.options)
        return self.process

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def redis(
    transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Killable]:
    """Yield a Redis of this test, which web and test use."""
    home = services.FOLDER / "bell"
    folders.make_private(home, account.services_account())
    server = Redis(
        folders.reachable_programs(CLONE, account.services_account()),
        home,
        services.FOLDER / "bell.log",
        account.services_account(),
    )
    killable = Killable(
        server.command(),
        cwd="/",
        env=account.service_environment(),
        **account.services_account().popen(),
    )
    redis_server.wait_until_ready(server, killable.process)
    monkeypatch.setattr(settings, "REDIS_URL", server.url)
    notify._client.cache_clear()
    yield killable
    killable.kill()
    notify._client.cache_clear()


@pytest.fixture
def web(
    redis: Killable, child_environment: dict[str, str], tmp_path: Path
) -> Iterator[tuple[Killable, str]]:
    """Yield the web as the launcher starts it, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = child_environment | {"REDIS_URL": settings.REDIS_URL}
    with (tmp_path / "web.log").open("ab") as log:
        killable = Killable(
            [sys.executable, "-m", *uvicorn_arguments("127.0.0.1", port)],
            cwd=CLONE,
            env=environment,
            stdout=log,
            stderr=log,
        )
        yield killable, f"127.0.0.1:{port}"
        killable.kill()


@pytest.fixture
def follower(web: tuple[Killable, str]) -> Iterator[Follower]:
    team = Team.objects.create(name="Still", slug="still")
    alice = member("alice@still.example", "Alice", team, Role.ADMIN)
    run = lifecycle.create_run(team, None, SPEC)
    leases.claim(run.pk, "host-a")
    follower = Follower(web[1], alice, run)
    follower.start()
    yield follower
    follower.end()


def test_a_page_survives_the_death_of_web_and_of_redis(
    web: tuple[Killable, str], redis: Killable, follower: Follower, tmp_path: Path
) -> None:
    run = Run.objects.get()
    steps = iter(range(1, 1000, 5))

    def log_and_see() -> None:
        log()
        until_drawn(follower, run)

    def log() -> None:
        first = next(steps)
        event_log.ingest(run.pk, 1, losses(first, first + 4, seq=first), tmp_path)

    log_and_see()
    redis.kill()
    log_and_see()
    redis.start()
    log_and_see()
    web[0].kill()
    log()
    web[0].start()
    log_and_see()
    assert follower.page.curves == {"loss": {float(step): step for step in range(1, 26)}}
    assert follower.connections == 2


def test_the_web_rejects_a_message_above_its_own_limit(
    web: tuple[Killable, str], follower: Follower
) -> None:
    from webapp.live import messages

    assert messages.LARGEST == LARGEST_MESSAGE
    until(lambda: follower.connections)
    headers = {"Cookie": follower.cookie, "Origin": f"http://{follower.address}"}
    with connect(f"ws://{follower.address}/live/", additional_headers=headers) as socket:
        socket.send(" " * (LARGEST_MESSAGE + 1))
        with pytest.raises(WebSocketException):
            socket.recv(timeout=PATIENCE_SECONDS)
        assert socket.close_code == 1009


def until_drawn(follower: Follower, run: Run) -> None:
    """Return whether the page has reached the run's cursor and its curves equal the store."""
    run.refresh_from_db()
    until(lambda: follower.draws_all_of(run))


def until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
