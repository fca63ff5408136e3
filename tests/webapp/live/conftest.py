"""Sockets with the cookies of a browser, events that reach them, and what was heard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from tests.webapp.sockets import Socket, quiet
from webapp.access.models import User
from webapp.base import notify
from webapp.ingest.event_log import ingest
from webapp.live import hub as hubs
from webapp.runs import leases
from webapp.runs.models import Run

from .page import Page

Connect = Callable[..., Awaitable[Socket]]
Send = Callable[..., Awaitable[None]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens sockets with the cookies of a browser, and closes them after the test."""
    opened: list[Socket] = []

    async def open_socket(client: Client, room: int = 0) -> Socket:
        socket = Socket(client, room=room)
        assert await socket.connect()
        opened.append(socket)
        return socket

    yield open_socket
    for socket in opened:
        await socket.disconnect()
    await quiet()


@pytest.fixture
def bobs(bob: User) -> Client:
    """Bob's browser."""
    client = Client()
    client.force_login(bob)
    return client


@pytest.fixture
def send(run: Run, tmp_path: Path) -> Send:
    """Ingests events of the run's first attempt."""
    leases.claim(run.pk, "host-a")

    async def ingest_now(events: list[dict[str, Any]], attempt: int = 1) -> None:
        await sync_to_async(ingest)(run.pk, attempt, events, tmp_path)

    return ingest_now


@pytest.fixture
def _doorbell_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub does not look by itself."""
    monkeypatch.setattr(hubs, "LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(hubs, "RETRY_SECONDS", 0.01)


@pytest.fixture
def _no_doorbell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every notice on Redis is lost."""
    monkeypatch.setattr(notify, "publish", lambda public_id, batch_count: None)
    monkeypatch.setattr(hubs, "LOOK_SECONDS", 0.1)


async def subscribed(socket: Socket, run: Run, **question: Any) -> dict[str, Any]:
    await socket.say(type="subscribe", run=run.public_id, **question)
    return await socket.hear()


def loss(frame: dict[str, Any]) -> list[Any]:
    return next((series["y"] for series in frame["series"] if series["key"] == "loss"), [])


async def heard_until(socket: Socket, cursor: int) -> list[float]:
    """The losses of all deltas until one is complete up to `cursor`."""
    heard_losses: list[float] = []
    while True:
        frame = await socket.hear()
        if frame["type"] == "stalled":
            continue
        assert frame["type"] == "delta"
        heard_losses += loss(frame)
        if frame["cursor"] >= cursor:
            return heard_losses


async def read_until(socket: Socket, page: Page, cursor: int) -> None:
    while page.cursor < cursor:
        page.take(await socket.hear())


async def news_of(run: Run) -> int:
    await sync_to_async(run.refresh_from_db)()
    return run.batch_count
