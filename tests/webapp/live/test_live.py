"""What the live socket tells, with real Redis and Postgres: nothing is missed, nothing comes
twice.
"""

from __future__ import annotations

import pytest
import redis
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import OperationalError
from django.test import Client

from tests.webapp.logs import event, losses
from tests.webapp.logs import metrics as logged
from trainer.spec.jobs import JobSpec
from webapp.access.models import Team, User
from webapp.jobs import lifecycle as jobs
from webapp.jobs.models import Copy
from webapp.live import consumer as consumers
from webapp.live import frames
from webapp.live import hub as hubs
from webapp.nodes import ordering
from webapp.runs import leases, lifecycle
from webapp.runs.models import Run

from .conftest import Connect, Send, heard_until, loss, news_of, read_until, subscribed
from .page import Page

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_subscription_begins_with_all_that_is_past_its_cursor(
    connect: Connect, bobs: Client, run: Run, send: Send
) -> None:
    await send(
        [
            event(1, "progress", step=0, total_steps=9, stage="forward", phase="training"),
            *losses(1, 5, seq=2),
        ]
    )
    frame = await subscribed(await connect(bobs), run)
    assert (frame["type"], loss(frame), frame["cursor"]) == (
        "delta",
        [1, 2, 3, 4, 5],
        await news_of(run),
    )
    assert (
        frame["state"]["state"],
        frame["state"]["step"],
        frame["state"]["total_steps"],
        frame["state"]["phase"],
    ) == (
        "running",
        5,
        9,
        "training",
    )


@pytest.mark.usefixtures("_doorbell_only")
async def test_news_arrive_by_themselves_and_once(
    connect: Connect, bobs: Client, run: Run, send: Send
) -> None:
    socket = await connect(bobs)
    await subscribed(socket, run)
    for first in range(1, 40, 3):
        await send(losses(first, first + 2, seq=first))
    assert await heard_until(socket, await news_of(run)) == [float(step) for step in range(1, 40)]


@pytest.mark.usefixtures("_doorbell_only")
async def test_a_lost_connection_to_redis_is_made_again_and_nothing_is_missed(
    connect: Connect, bobs: Client, run: Run, send: Send
) -> None:
    socket = await connect(bobs)
    await subscribed(socket, run)
    server = redis.Redis.from_url(settings.REDIS_URL)
    for first in (1, 4, 7):
        server.client_kill_filter(_type="pubsub")
        await send(losses(first, first + 2, seq=first))
    server.close()
    assert await heard_until(socket, await news_of(run)) == [float(step) for step in range(1, 10)]


@pytest.mark.usefixtures("_no_doorbell")
async def test_without_any_doorbell_everything_still_arrives(
    connect: Connect, bobs: Client, run: Run, send: Send
) -> None:
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
    socket = await connect(bobs)
    await subscribed(socket, run)
    outages = iter(
        [
            OperationalError("the server closed the connection"),
            OperationalError("connection refused"),
        ]
    )
    original = frames.news_since

    def interrupted(run_id: int, since: int) -> frames.RunChanges:
        for outage in outages:
            raise outage
        return original(run_id, since)

    monkeypatch.setattr(frames, "news_since", interrupted)
    await send(losses(1, 5))
    assert await heard_until(socket, await news_of(run)) == [1, 2, 3, 4, 5]


async def test_a_client_that_comes_back_goes_on_from_its_cursor(
    connect: Connect, bobs: Client, run: Run, send: Send
) -> None:
    await send(losses(1, 5))
    cursor = (await subscribed(await connect(bobs), run))["cursor"]
    await send(losses(6, 8, seq=6))
    socket = await connect(bobs)
    await socket.say(type="subscribe", run=run.public_id, since=cursor)
    assert await heard_until(socket, await news_of(run)) == [6, 7, 8]


async def test_only_wanted_series_are_sent(
    connect: Connect, bobs: Client, run: Run, send: Send
) -> None:
    await send([logged(1, 1, loss=1.0, grad_norm=2.0)])
    frame = await subscribed(await connect(bobs), run, keys=["grad_norm", "absent"])
    assert [series["key"] for series in frame["series"]] == ["grad_norm"]


async def test_more_than_can_be_drawn_comes_as_a_reset_in_buckets(
    connect: Connect, bobs: Client, run: Run, send: Send
) -> None:
    await send(losses(1, 300))
    frame = await subscribed(await connect(bobs), run, keys=["loss"], width=50)
    (series,) = frame["series"]
    assert (frame["type"], series["count"], frame["cursor"]) == ("reset", 300, await news_of(run))
    assert len(series["x"]) <= 51
    assert (min(series["min"]), max(series["max"])) == (1, 300)


async def test_a_run_that_goes_back_to_a_checkpoint_is_drawn_anew(
    connect: Connect, bobs: Client, run: Run, send: Send
) -> None:
    """Whoever comes back may first be told of the run's state alone, as another page has just heard
    it.
    """
    page = Page()
    await send(losses(1, 9))
    page.take(await subscribed(await connect(bobs), run))
    await sync_to_async(leases.requeue)(run.pk, 1, "Its machine is gone.")
    await sync_to_async(leases.claim)(run.pk, "host-b")
    await send([event(1, "rewind", step=5), logged(2, 6, loss=60.0)], attempt=2)
    socket = await connect(bobs)
    await socket.say(type="subscribe", run=run.public_id, since=page.cursor)
    await read_until(socket, page, await news_of(run))
    assert page.curves == {"loss": {1.0: 1, 2.0: 2, 3.0: 3, 4.0: 4, 5.0: 5, 6.0: 60}}


async def test_the_kinds_of_events_past_the_cursor_are_named(
    connect: Connect, bobs: Client, run: Run, send: Send
) -> None:
    socket = await connect(bobs)
    await subscribed(socket, run)
    await send(
        [
            event(1, "log", level="info", message="hello"),
            event(2, "checkpoint_removed", step=1, folder="checkpoints/step-1"),
        ]
    )
    assert (await socket.hear())["changed"] == ["checkpoints", "log"]


async def test_a_change_of_state_is_news(
    connect: Connect, bobs: Client, run: Run, alice: User, send: Send
) -> None:
    await send(losses(1, 2))
    socket = await connect(bobs)
    await subscribed(socket, run)
    await sync_to_async(lambda: lifecycle.request_stop(Run.objects.get(pk=run.pk), alice))()
    assert (await socket.hear())["state"]["state"] == "stopping"


async def test_what_is_not_a_number_is_told_as_text(
    connect: Connect, bobs: Client, run: Run, send: Send
) -> None:
    await send([logged(1, 1, loss="NaN"), logged(2, 2, loss="Infinity")])
    assert loss(await subscribed(await connect(bobs), run)) == ["NaN", "Infinity"]


async def test_two_pages_on_one_run_hear_the_same(
    connect: Connect, bobs: Client, run: Run, send: Send
) -> None:
    sockets = [await connect(bobs), await connect(bobs)]
    for socket in sockets:
        await subscribed(socket, run)
    await send(losses(1, 4))
    assert [await heard_until(socket, await news_of(run)) for socket in sockets] == [
        [1, 2, 3, 4]
    ] * 2


async def test_a_burst_comes_in_few_frames(
    connect: Connect, bobs: Client, run: Run, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "FRAME_SECONDS", 3600.0)
    socket = await connect(bobs)
    await subscribed(socket, run)
    for step in range(1, 20):
        await send([logged(step, step, loss=1.0)])
    assert await socket.receive_nothing(timeout=0.5)


async def test_after_unsubscribing_there_is_silence(
    connect: Connect, bobs: Client, run: Run, send: Send
) -> None:
    socket = await connect(bobs)
    await subscribed(socket, run)
    await socket.say(type="unsubscribe", run=run.public_id)
    await socket.say(type="unsubscribe", run="neverwas")
    await socket.say(type="hello?")
    assert (await socket.hear())["type"] == "error"  # so the server has read what came before
    await send(losses(1, 3))
    assert await socket.receive_nothing(timeout=0.5)


async def test_the_list_hears_of_every_run_of_the_team(
    connect: Connect, bobs: Client, run: Run, still: Team, send: Send
) -> None:
    socket = await connect(bobs)
    await socket.say(type="subscribe_list")
    first = await socket.hear()
    assert [row["run"] for row in first["rows"]] == [run.public_id]
    await send(losses(1, 3))
    (row,) = (await socket.hear())["rows"]
    assert (row["run"], row["state"], row["step"], row["summary"]["loss"]) == (
        run.public_id,
        "running",
        3,
        3,
    )
    new = await sync_to_async(lifecycle.create_run)(still, None, run.spec)
    await sync_to_async(lifecycle.request_stop)(new)
    assert [row["run"] for row in (await socket.hear())["rows"]] == [new.public_id]


async def test_a_run_on_hold_is_told_as_held(connect: Connect, bobs: Client, run: Run) -> None:
    socket = await connect(bobs)
    await socket.say(type="subscribe_list")
    assert [(row["state"], row["word"]) for row in (await socket.hear())["rows"]] == [
        ("queued", "queued")
    ]
    await sync_to_async(ordering.hold)(run, None)
    assert [(row["state"], row["word"]) for row in (await socket.hear())["rows"]] == [
        ("queued", "held")
    ]


async def test_jobs_are_told_of_until_they_are_over(
    connect: Connect, bobs: Client, still: Team, charlie: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(hubs, "LIST_SECONDS", 0.01)
    job = await sync_to_async(jobs.create_job)(still, None, JobSpec(), 128, 1)
    stranger = Client()
    await sync_to_async(stranger.force_login)(charlie)
    socket, elsewhere = await connect(bobs), await connect(stranger)
    for listener in (socket, elsewhere):
        await listener.say(type="subscribe_jobs")
    waiting = {"job": job.public_id, "done": 0, "parts_done": 0, "at_work": 0}
    assert ((await socket.hear())["rows"], (await elsewhere.hear())["rows"]) == ([waiting], [])
    shard = await job.shards.aget(part=0)
    await Copy.objects.acreate(shard=shard, number=1, host="elm", device="cpu 0", done=7)
    assert (await socket.hear())["rows"] == [waiting | {"done": 7, "at_work": 1}]
    await sync_to_async(jobs.stop)(job)
    assert (await socket.hear())["rows"] == []
    assert await elsewhere.receive_nothing(timeout=0.3)
