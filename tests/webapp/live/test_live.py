"""The live socket, with real Redis and Postgres: nothing is missed, nothing is shown to the wrong people, nothing brings it down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.webapp.logs import event, losses
from tests.webapp.logs import metrics as logged
from tests.webapp.sockets import Socket
from webapp.live import consumer as consumers
from webapp.live import doorbell, frames, messages
from webapp.live import hub as hubs
from webapp.runs import lifecycle
from webapp.runs.ingest import ingest
from webapp.runs.models import Run
from webapp.sharing import links
from webapp.sharing.models import ShareLink
from webapp.teams.models import Membership, Team, User

pytestmark = pytest.mark.django_db(transaction=True)

Connect = Callable[[Client], Awaitable[Socket]]
Send = Callable[..., Awaitable[None]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens sockets with the cookies of a browser, and closes them after the test."""
    opened: list[Socket] = []

    async def open_socket(client: Client) -> Socket:
        socket = Socket(client)
        assert await socket.connect()
        opened.append(socket)
        return socket

    yield open_socket
    for socket in opened:
        await socket.disconnect()


@pytest.fixture
def bobs(bob: User) -> Client:
    """Bob's browser."""
    client = Client()
    client.force_login(bob)
    return client


@pytest.fixture
def send(run: Run, tmp_path: Path) -> Send:
    """Ingests events of the run's first attempt."""
    lifecycle.claim(run.pk, "host-a")

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
    monkeypatch.setattr(doorbell, "ring", lambda public_id, news: None)
    monkeypatch.setattr(hubs, "LOOK_SECONDS", 0.1)


async def subscribed(socket: Socket, run: Run, **question: Any) -> dict[str, Any]:
    await socket.say(type="subscribe", run=run.public_id, **question)
    return await socket.hear()


def loss(frame: dict[str, Any]) -> list[Any]:
    return next((series["y"] for series in frame["series"] if series["key"] == "loss"), [])


async def heard_until(socket: Socket, cursor: int) -> list[float]:
    """The losses of all deltas until one is complete up to `cursor`."""
    found: list[float] = []
    while True:
        frame = await socket.hear()
        assert frame["type"] == "delta"
        found += loss(frame)
        if frame["cursor"] >= cursor:
            return found


async def news_of(run: Run) -> int:
    await sync_to_async(run.refresh_from_db)()
    return run.news


# What is told


async def test_a_subscription_begins_with_all_that_is_past_its_cursor(connect: Connect, bobs: Client, run: Run, send: Send) -> None:
    await send([event(1, "progress", step=0, total_steps=9, stage="forward", phase="training"), *losses(1, 5, seq=2)])
    frame = await subscribed(await connect(bobs), run)
    assert (frame["type"], loss(frame), frame["cursor"]) == ("delta", [1, 2, 3, 4, 5], await news_of(run))
    assert (frame["state"]["state"], frame["state"]["step"], frame["state"]["total_steps"], frame["state"]["phase"]) == (
        "running",
        5,
        9,
        "training",
    )


@pytest.mark.usefixtures("_doorbell_only")
async def test_news_arrive_by_themselves_and_once(connect: Connect, bobs: Client, run: Run, send: Send) -> None:
    socket = await connect(bobs)
    await subscribed(socket, run)
    for first in range(1, 40, 3):
        await send(losses(first, first + 2, seq=first))
    assert await heard_until(socket, await news_of(run)) == [float(step) for step in range(1, 40)]


@pytest.mark.usefixtures("_doorbell_only")
async def test_a_lost_connection_to_redis_is_made_again_and_nothing_is_missed(connect: Connect, bobs: Client, run: Run, send: Send) -> None:
    socket = await connect(bobs)
    await subscribed(socket, run)
    server = redis.Redis.from_url(settings.REDIS_URL)
    for first in (1, 4, 7):
        server.client_kill_filter(_type="pubsub")
        await send(losses(first, first + 2, seq=first))
    server.close()
    assert await heard_until(socket, await news_of(run)) == [float(step) for step in range(1, 10)]


@pytest.mark.usefixtures("_no_doorbell")
async def test_without_any_doorbell_everything_still_arrives(connect: Connect, bobs: Client, run: Run, send: Send) -> None:
    socket = await connect(bobs)
    await subscribed(socket, run)
    await send(losses(1, 5))
    assert await heard_until(socket, await news_of(run)) == [1, 2, 3, 4, 5]
    await send(losses(6, 9, seq=6))
    assert await heard_until(socket, await news_of(run)) == [6, 7, 8, 9]


@pytest.mark.usefixtures("_no_doorbell")
async def test_without_redis_everything_still_arrives(
    connect: Connect, bobs: Client, run: Run, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "REDIS_URL", "redis://127.0.0.1:1")
    socket = await connect(bobs)
    await subscribed(socket, run)
    await send(losses(1, 3))
    assert await heard_until(socket, await news_of(run)) == [1, 2, 3]


async def test_an_outage_of_postgres_delays_news_and_loses_none(
    connect: Connect, bobs: Client, run: Run, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 3600.0)
    socket = await connect(bobs)
    await subscribed(socket, run)
    outages = iter([OperationalError("the server closed the connection"), OperationalError("connection refused")])
    original = frames.news_since

    def interrupted(run_id: int, since: int) -> frames.News:
        for outage in outages:
            raise outage
        return original(run_id, since)

    monkeypatch.setattr(frames, "news_since", interrupted)
    await send(losses(1, 5))
    assert await heard_until(socket, await news_of(run)) == [1, 2, 3, 4, 5]


async def test_a_client_that_comes_back_goes_on_from_its_cursor(connect: Connect, bobs: Client, run: Run, send: Send) -> None:
    await send(losses(1, 5))
    cursor = (await subscribed(await connect(bobs), run))["cursor"]
    await send(losses(6, 8, seq=6))
    frame = await subscribed(await connect(bobs), run, since=cursor)
    assert loss(frame) == [6, 7, 8]


async def test_only_wanted_series_are_sent(connect: Connect, bobs: Client, run: Run, send: Send) -> None:
    await send([logged(1, 1, loss=1.0, grad_norm=2.0)])
    frame = await subscribed(await connect(bobs), run, keys=["grad_norm", "absent"])
    assert [series["key"] for series in frame["series"]] == ["grad_norm"]


async def test_more_than_can_be_drawn_comes_as_a_reset_in_buckets(connect: Connect, bobs: Client, run: Run, send: Send) -> None:
    await send(losses(1, 300))
    frame = await subscribed(await connect(bobs), run, keys=["loss"], width=50)
    (series,) = frame["series"]
    assert (frame["type"], series["count"], frame["cursor"]) == ("reset", 300, await news_of(run))
    assert len(series["x"]) <= 51
    assert (min(series["min"]), max(series["max"])) == (1, 300)


async def test_a_run_that_goes_back_to_a_checkpoint_is_drawn_anew(connect: Connect, bobs: Client, run: Run, send: Send) -> None:
    await send(losses(1, 9))
    cursor = (await subscribed(await connect(bobs), run))["cursor"]
    await sync_to_async(lifecycle.requeue)(run.pk, 1, "Its machine is gone.")
    await sync_to_async(lifecycle.claim)(run.pk, "host-b")
    await send([event(1, "rewind", step=5), logged(2, 6, loss=60.0)], attempt=2)
    frame = await subscribed(await connect(bobs), run, since=cursor)
    assert frame["type"] == "reset"
    assert frame["series"][0]["mean"] == [1, 2, 3, 4, 5, 60]


async def test_the_kinds_of_events_past_the_cursor_are_named(connect: Connect, bobs: Client, run: Run, send: Send) -> None:
    socket = await connect(bobs)
    await subscribed(socket, run)
    await send([event(1, "log", level="info", message="hello"), event(2, "checkpoint_removed", step=1, folder="checkpoints/step-1")])
    assert (await socket.hear())["changed"] == ["checkpoints", "log"]


async def test_a_change_of_state_is_news(connect: Connect, bobs: Client, run: Run, alice: User, send: Send) -> None:
    await send(losses(1, 2))
    socket = await connect(bobs)
    await subscribed(socket, run)
    await sync_to_async(lambda: lifecycle.request_stop(Run.objects.get(pk=run.pk), alice))()
    assert (await socket.hear())["state"]["state"] == "stopping"


async def test_what_is_not_a_number_is_told_as_text(connect: Connect, bobs: Client, run: Run, send: Send) -> None:
    await send([logged(1, 1, loss="NaN"), logged(2, 2, loss="Infinity")])
    assert loss(await subscribed(await connect(bobs), run)) == ["NaN", "Infinity"]


async def test_two_pages_on_one_run_hear_the_same(connect: Connect, bobs: Client, run: Run, send: Send) -> None:
    sockets = [await connect(bobs), await connect(bobs)]
    for socket in sockets:
        await subscribed(socket, run)
    await send(losses(1, 4))
    assert [await heard_until(socket, await news_of(run)) for socket in sockets] == [[1, 2, 3, 4]] * 2


async def test_a_burst_comes_in_few_frames(connect: Connect, bobs: Client, run: Run, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    original = consumers.LiveConsumer.send

    async def counted(self: consumers.LiveConsumer, **frame: Any) -> None:
        sent.append(frame["text_data"])
        await original(self, **frame)

    monkeypatch.setattr(consumers, "FRAME_SECONDS", 3600.0)
    monkeypatch.setattr(consumers.LiveConsumer, "send", counted)
    socket = await connect(bobs)
    await subscribed(socket, run)
    for step in range(1, 20):
        await send([logged(step, step, loss=1.0)])
    assert len(sent) == 1


async def test_after_unsubscribing_there_is_silence(connect: Connect, bobs: Client, run: Run, send: Send) -> None:
    socket = await connect(bobs)
    await subscribed(socket, run)
    await socket.say(type="unsubscribe", run=run.public_id)
    await socket.say(type="unsubscribe", run="never-was")
    await socket.say(type="hello?")
    assert (await socket.hear())["type"] == "error"  # so the server has read what came before
    await send(losses(1, 3))
    assert await socket.receive_nothing(timeout=0.5)


async def test_the_list_hears_of_every_run_of_the_team(connect: Connect, bobs: Client, run: Run, still: Team, send: Send) -> None:
    socket = await connect(bobs)
    await socket.say(type="subscribe_list")
    first = await socket.hear()
    assert [row["run"] for row in first["rows"]] == [run.public_id]
    await send(losses(1, 3))
    (row,) = (await socket.hear())["rows"]
    assert (row["run"], row["state"], row["step"], row["summary"]["loss"]) == (run.public_id, "running", 3, 3)
    new = await sync_to_async(lifecycle.create_run)(still, None, run.spec)
    await sync_to_async(lifecycle.request_stop)(new)
    assert [row["run"] for row in (await socket.hear())["rows"]] == [new.public_id]


# To whom


async def test_nobody_gets_in_without_a_session(db: None) -> None:
    assert not await Socket(Client()).connect()


@pytest.mark.parametrize("origin", [b"http://elsewhere.example", b"null", None])
async def test_pages_of_other_sites_get_no_socket(bobs: Client, origin: bytes | None) -> None:
    assert not await Socket(bobs, origin).connect()


async def test_there_is_no_other_socket(bobs: Client) -> None:
    assert not await Socket(bobs, path="/other/").connect()


async def test_a_stranger_is_refused_that_run_and_hears_of_none(connect: Connect, run: Run, charlie: User, send: Send) -> None:
    client = Client()
    await sync_to_async(client.force_login)(charlie)
    socket = await connect(client)
    assert (await subscribed(socket, run))["type"] == "refused"
    await socket.say(type="subscribe_list")
    await send(losses(1, 3))
    assert await socket.receive_nothing(timeout=0.5)


async def test_a_guest_follows_the_shared_run_only(connect: Connect, run: Run, alice: User, still: Team, send: Send) -> None:
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


@pytest.mark.parametrize("taken", ["membership", "session", "account", "run"])
async def test_what_is_taken_away_is_not_told_any_more(
    connect: Connect, bobs: Client, run: Run, bob: User, send: Send, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.0)
    socket = await connect(bobs)
    await subscribed(socket, run)
    take: dict[str, Callable[[], Any]] = {
        "membership": Membership.objects.filter(user=bob).delete,
        "session": Session.objects.all().delete,
        "account": lambda: User.objects.filter(pk=bob.pk).update(is_active=False),
        "run": run.delete,
    }
    await sync_to_async(take[taken])()
    await send(losses(1, 3)) if taken != "run" else doorbell.ring(run.public_id, 99)
    frame = await socket.hear()
    assert (frame["type"], "loss" in json.dumps(frame)) == ("refused", False)


async def test_a_withdrawn_link_is_refused_at_the_next_news(
    connect: Connect, run: Run, alice: User, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.0)
    client = Client()
    token = await sync_to_async(links.share)(run, alice, timedelta(days=1))
    await sync_to_async(client.get)(f"/s/{token}/")
    socket = await connect(client)
    await subscribed(socket, run)
    await sync_to_async(lambda: links.revoke(ShareLink.objects.get()))()
    await send(losses(1, 3))
    assert (await socket.hear())["type"] == "refused"


# Whatever is said


async def test_garbage_is_answered_and_too_much_of_it_ends_the_talk(connect: Connect, bobs: Client, run: Run) -> None:
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


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
spoken = st.builds(
    lambda known, mad: {**known, **mad},
    st.sampled_from([{"type": "subscribe", "run": "abc"}, {"type": "unsubscribe"}, {"type": "subscribe_list"}, {}]),
    st.dictionaries(st.sampled_from(["type", "run", "keys", "since", "width", "?"]), anything, max_size=3),
)


@examples(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.text(max_size=50) | spoken.map(json.dumps) | st.just("[" * 5000) | st.none())
def test_every_message_is_either_understood_or_a_mistake(text: str | None) -> None:
    with suppress(messages.BadMessage):
        assert messages.parse(text).type in ("subscribe", "unsubscribe", "subscribe_list")


async def test_one_page_follows_a_bounded_number_of_runs(
    connect: Connect, bobs: Client, run: Run, still: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "MOST_SUBSCRIPTIONS", 1)
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
