"""What one page, one person and one server process may hold, and how the access of all pages is
asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from tests.webapp.logs import losses
from tests.webapp.sockets import SECONDS
from webapp.access import actors
from webapp.access.models import Membership, Team, User
from webapp.live import connection_limits, session_access
from webapp.live import consumer as consumers
from webapp.live import hub as hubs
from webapp.runs import lifecycle
from webapp.runs.models import Run

from .conftest import Connect, Send, subscribed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("bound", ["SOCKETS_OF_SESSION", "SOCKETS_OF_PROCESS"])
async def test_one_socket_too_many_is_told_so_and_another_may_come_when_one_has_left(
    connect: Connect, bobs: Client, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, bound, 2)
    first, _, third = await connect(bobs), await connect(bobs), await connect(bobs)
    assert await third.hear() == {"type": "closed", "code": consumers.TOO_MANY}
    await first.disconnect()
    fourth = await connect(bobs)
    await fourth.say(type="ping")
    assert await fourth.hear() == {"type": "pong"}


async def test_all_pages_of_a_person_together_follow_a_bounded_number_of_runs(
    connect: Connect, bobs: Client, run: Run, still: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "SUBSCRIPTIONS_OF_SESSION", 1)
    second_run = await sync_to_async(lifecycle.create_run)(still, None, run.spec)
    first_socket, second_socket = await connect(bobs), await connect(bobs)
    assert (await subscribed(first_socket, run))["type"] == "delta"
    assert (await subscribed(first_socket, run))[
        "type"
    ] == "delta"  # the same again is no second one
    assert "already" in (await subscribed(second_socket, second_run))["message"]
    await first_socket.disconnect()
    assert (await subscribed(second_socket, second_run))["type"] == "delta"


async def test_nothing_is_counted_any_more_when_everybody_has_left(
    connect: Connect, bobs: Client, run: Run
) -> None:
    sockets = [await connect(bobs) for _ in range(3)]
    for socket in sockets:
        await subscribed(socket, run)
    for socket in sockets:
        await socket.disconnect()
    limits = hubs.hub().connection_limits
    assert (
        limits.sockets.total(),
        limits.subscriptions.total(),
        hubs.hub().session_access._known,
    ) == (
        0,
        0,
        {},
    )


async def test_who_takes_nothing_is_let_go_and_holds_nothing(
    connect: Connect, bobs: Client, run: Run, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SEND_SECONDS", 0.1)
    monkeypatch.setattr(consumers, "CLOSE_SECONDS", 0.1)
    socket = await connect(bobs, room=1)
    await socket.say(type="subscribe", run=run.public_id)
    await _send_until(send, socket.future.done)
    # The server is through with this page, although it has taken only one frame.
    await socket.wait(SECONDS)
    assert hubs.hub().connection_limits.sockets.total() == 0


async def test_a_slow_page_that_can_still_be_told_hears_why_it_is_let_go(
    connect: Connect, bobs: Client, run: Run, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SEND_SECONDS", 0.1)
    # As long as the test needs on any machine.
    monkeypatch.setattr(consumers, "CLOSE_SECONDS", 3600.0)
    closing, close = asyncio.Event(), consumers.LiveSocket._close

    async def noticed(self: consumers.LiveSocket, code: int | None) -> None:
        closing.set()
        await close(self, code)

    monkeypatch.setattr(consumers.LiveSocket, "_close", noticed)
    socket = await connect(bobs, room=1)
    await socket.say(type="subscribe", run=run.public_id)
    await _send_until(send, closing.is_set)
    assert (await socket.hear())["type"] == "delta"
    assert await socket.hear() == {"type": "closed", "code": consumers.TOO_SLOW}


async def _send_until(send: Send, condition: Callable[[], bool]) -> None:
    """Send events until it holds: of those that come together the server makes one frame, so that
    no number of events makes a certain number of frames.
    """
    step = 0
    while not condition():
        step += 1
        await send(losses(step, step, seq=step))


async def test_talking_without_end_ends_the_talk(
    connect: Connect, bobs: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "MOST_MESSAGES", 5)
    socket = await connect(bobs)
    for _ in range(6):
        await socket.say(type="ping")
    answers = [await socket.hear() for _ in range(6)]
    assert answers == [*[{"type": "pong"}] * 5, {"type": "closed", "code": 1008}]


async def test_the_access_of_all_pages_is_asked_with_one_look(
    connect: Connect,
    bobs: Client,
    run: Run,
    alice: User,
    bob: User,
    send: Send,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_access, "RECHECK_SECONDS", 0.0)
    looks: list[int] = []
    original = actors.access_states

    def counted(sessions: Collection[str]) -> dict[str, Any]:
        looks.append(len(sessions))
        return original(sessions)

    alices = Client()
    await sync_to_async(alices.force_login)(alice)
    sockets = [await connect(client) for client in (bobs, bobs, alices, alices)]
    for socket in sockets:
        await subscribed(socket, run)
    monkeypatch.setattr(actors, "access_states", counted)
    await send(losses(1, 2))
    assert [(await socket.hear())["type"] for socket in sockets] == ["delta"] * 4
    assert set(looks) == {2}  # two people: each look is for all their pages
    await sync_to_async(Membership.objects.filter(user=bob).delete)()
    await send(losses(3, 4, seq=3))
    assert [(await socket.hear())["type"] for socket in sockets] == [
        "refused",
        "refused",
        "delta",
        "delta",
    ]


async def test_who_signs_out_is_refused_and_told_to_sign_in(
    connect: Connect, bobs: Client, run: Run, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_access, "RECHECK_SECONDS", 0.0)
    socket = await connect(bobs)
    await subscribed(socket, run)
    await sync_to_async(bobs.logout)()
    await send(losses(1, 2))
    assert [await socket.hear(), await socket.hear()] == [
        {"type": "refused", "run": run.public_id, "message": consumers.GONE},
        {"type": "closed", "code": consumers.NOT_SIGNED_IN},
    ]


async def test_an_idle_page_asks_the_database_for_nothing_but_the_regular_look(
    connect: Connect, bobs: Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "LOOK_SECONDS", 0.05)
    socket = await connect(bobs)
    await subscribed(socket, run)
    assert await socket.receive_nothing(timeout=0.3)
    queries: list[str] = []
    monkeypatch.setattr(session_access.SessionAccess, "actor", lambda *_: queries.append("access"))
    assert await socket.receive_nothing(timeout=0.3)
    assert queries == []
