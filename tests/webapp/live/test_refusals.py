"""Whom the live socket refuses, and what brings it down: nothing does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.webapp.logs import losses
from tests.webapp.sockets import Socket
from webapp.access.models import Membership, Team, User
from webapp.base import notify
from webapp.live import connection_limits, messages, session_access
from webapp.live import consumer as consumers
from webapp.live import hub as hubs
from webapp.runs import lifecycle
from webapp.runs.models import Run
from webapp.sharing import links
from webapp.sharing.models import ShareLink

from .conftest import Connect, Send, subscribed

pytestmark = pytest.mark.django_db(transaction=True)


async def test_nobody_gets_in_without_a_session(db: None) -> None:
    assert not await Socket(Client()).connect()


@pytest.mark.parametrize(
    "origin",
    [
        b"http://elsewhere.example",
        # Cookies are sent to every port of a host.
        b"http://localhost:8001",
        b"http://localhost",
        b"https://localhost",
        b"http://127.0.0.1:8000",
        b"http://user@localhost:8000",
        b"http://localhost:8000.elsewhere.example",
        b"http://localhost:8000/",
        b"http://localhost:99999",
        b"localhost:8000",
        b"file://localhost:8000",
        b"null",
        b"",
        None,
    ],
)
async def test_pages_of_other_sites_get_no_socket(bobs: Client, origin: bytes | None) -> None:
    assert not await Socket(bobs, origin).connect()


async def test_there_is_no_other_socket(bobs: Client) -> None:
    assert not await Socket(bobs, path="/other/").connect()


async def test_a_stranger_is_refused_that_run_and_hears_of_none(
    connect: Connect, run: Run, charlie: User, send: Send
) -> None:
    client = Client()
    await sync_to_async(client.force_login)(charlie)
    socket = await connect(client)
    assert (await subscribed(socket, run))["type"] == "refused"
    await socket.say(type="subscribe_list")
    await send(losses(1, 3))
    assert await socket.receive_nothing(timeout=0.5)


async def test_a_guest_follows_the_shared_run_only(
    connect: Connect, run: Run, alice: User, still: Team, send: Send
) -> None:
    client = Client()
    token = await sync_to_async(links.share)(run, alice, timedelta(days=1))
    await sync_to_async(client.get)(f"/s/{token}/")
    sibling = await sync_to_async(lifecycle.create_run)(still, alice, run.spec)
    socket = await connect(client)
    assert (await subscribed(socket, run))["type"] == "delta"
    assert (await subscribed(socket, sibling))["type"] == "refused"
    await socket.say(type="subscribe_list")
    await send(losses(1, 2))
    assert (await socket.hear())["run"] == run.public_id


@pytest.mark.parametrize("removed", ["membership", "session", "account", "run", "deleted run"])
async def test_what_is_taken_away_is_not_told_any_more(
    connect: Connect,
    bobs: Client,
    run: Run,
    bob: User,
    send: Send,
    removed: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_access, "RECHECK_SECONDS", 0.0)
    socket = await connect(bobs)
    await subscribed(socket, run)
    take: dict[str, Callable[[], Any]] = {
        "membership": Membership.objects.filter(user=bob).delete,
        "session": Session.objects.all().delete,
        "account": lambda: User.objects.filter(pk=bob.pk).update(is_active=False),
        "run": run.delete,
        "deleted run": lambda: Run.objects.filter(pk=run.pk).update(deleted_at=timezone.now()),
    }
    await sync_to_async(take[removed])()
    await send(losses(1, 3)) if not removed.endswith("run") else notify.publish(run.public_id, 99)
    frame = await socket.hear()
    assert (frame["type"], "loss" in json.dumps(frame)) == ("refused", False)


@pytest.mark.parametrize("is_notified", [True, False])
async def test_a_withdrawn_link_is_refused_with_or_without_news(
    connect: Connect,
    run: Run,
    alice: User,
    send: Send,
    is_notified: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_access, "RECHECK_SECONDS", 0.0)
    monkeypatch.setattr(hubs, "LOOK_SECONDS", 100 if is_notified else 0.1)
    client = Client()
    token = await sync_to_async(links.share)(run, alice, timedelta(days=1))
    await sync_to_async(client.get)(f"/s/{token}/")
    socket = await connect(client)
    await subscribed(socket, run)
    await sync_to_async(lambda: links.revoke(ShareLink.objects.get()))()
    if is_notified:
        await send(losses(1, 3))
    assert (await socket.hear())["type"] == "refused"


# Whatever is said


async def test_a_key_that_no_series_can_have_is_a_mistake_and_no_outage(
    connect: Connect, bobs: Client, run: Run
) -> None:
    socket = await connect(bobs)
    await socket.say(type="subscribe", run=run.public_id, keys=["\0"])
    assert (await socket.hear())["type"] == "error"


async def test_garbage_is_answered_and_too_much_of_it_ends_the_talk(
    connect: Connect, bobs: Client, run: Run
) -> None:
    socket = await connect(bobs)
    await socket.say_raw(bytes=b"\x00\xff")
    assert (await socket.hear())["type"] == "error"
    for _ in range(consumers.MOST_MISTAKES):
        await socket.say_raw(text="{")
    answers = [await socket.hear() for _ in range(consumers.MOST_MISTAKES)]
    assert answers[-1] == {"type": "closed", "code": 1008}


async def test_a_huge_frame_ends_the_talk(connect: Connect, bobs: Client) -> None:
    socket = await connect(bobs)
    await socket.say_raw(text=" " * (messages.LARGEST + 1))
    assert await socket.hear() == {"type": "closed", "code": 1009}


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
client_messages = st.builds(
    lambda valid, mad: {**valid, **mad},
    st.sampled_from(
        [
            {"type": "subscribe", "run": "abc"},
            {"type": "unsubscribe"},
            {"type": "subscribe_list"},
            {},
        ]
    ),
    st.dictionaries(
        st.sampled_from(["type", "run", "keys", "since", "width", "?"]), any_json, max_size=3
    ),
)


@examples(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    text=st.text(max_size=50) | client_messages.map(json.dumps) | st.just("[" * 5000) | st.none()
)
def test_every_message_is_either_understood_or_a_mistake(text: str | None) -> None:
    with suppress(messages.BadMessage):
        assert messages.parse(text).type in ("subscribe", "unsubscribe", "subscribe_list", "ping")


async def test_one_page_follows_a_bounded_number_of_runs(
    connect: Connect, bobs: Client, run: Run, still: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "SUBSCRIPTIONS_OF_SOCKET", 1)
    socket = await connect(bobs)
    await subscribed(socket, run)
    second = await sync_to_async(lifecycle.create_run)(still, None, run.spec)
    assert "at once" in (await subscribed(socket, second))["message"]


async def test_the_hub_rests_when_nobody_listens(connect: Connect, bobs: Client, run: Run) -> None:
    socket = await connect(bobs)
    await subscribed(socket, run)
    assert hubs.hub()._tasks
    await socket.disconnect()
    for _ in range(100):
        if not hubs.hub()._tasks:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the hub still has tasks")
