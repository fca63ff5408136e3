"""Whatever is lost, late or slow on the way: in the end a page has drawn what the store holds,
nothing less and nothing twice.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.test import Client
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.webapp.conftest import SPEC
from tests.webapp.logs import event, losses
from tests.webapp.logs import metrics as logged
from tests.webapp.sockets import Socket, quiet
from webapp.access.models import Team
from webapp.base import notify
from webapp.ingest.event_log import ingest
from webapp.live import consumer as consumers
from webapp.live import hub as hubs
from webapp.runs import leases, lifecycle
from webapp.runs.models import Run, State
from webapp.series import series_store

from .conftest import Connect, Send, news_of, read_until
from .page import Curve, Page

pytestmark = pytest.mark.django_db(transaction=True)
WIDTH = 4000


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that waits waits a hundredth as long."""
    for module, name, seconds in (
        (hubs, "FRAME_SECONDS", 0.002),
        (consumers, "FRAME_SECONDS", 0.002),
        (hubs, "LOOK_SECONDS", 0.05),
        (hubs, "RETRY_SECONDS", 0.01),
    ):
        monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def lost_notices(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Half of what is published on Redis is lost, by a seeded choice; says of each notice whether
    it was.
    """
    chance, is_lost = random.Random(7), list[bool]()
    publish = redis.Redis.publish

    def unreliable(client: redis.Redis, channel: str, message: str, **options: Any) -> Any:
        is_lost.append(chance.random() < 0.5)
        return 0 if is_lost[-1] else publish(client, channel, message, **options)

    monkeypatch.setattr(redis.Redis, "publish", unreliable)
    return is_lost


def drawn_by(run: Run) -> dict[str, Curve]:
    """The live branch as the store has it."""
    run.refresh_from_db()
    all_series = series_store.read([run], None, width=WIDTH)
    return {
        series.key: {
            x: series_store.json_number(y) for x, y in zip(series.x, series.mean, strict=True)
        }
        for series in all_series
        if series.x
    }


@pytest.mark.usefixtures("_hurried")
async def test_with_half_of_the_doorbell_lost_the_page_draws_everything(
    connect: Connect, bobs: Client, run: Run, send: Send, lost_notices: list[bool]
) -> None:
    socket, page = await connect(bobs), Page()
    await socket.say(type="subscribe", run=run.public_id, width=WIDTH)
    for first in range(1, 61, 3):
        await send(losses(first, first + 2, seq=first))
    await read_until(socket, page, await news_of(run))
    assert (
        page.curves
        == await sync_to_async(drawn_by)(run)
        == {"loss": {float(step): step for step in range(1, 61)}}
    )
    assert {True, False} == set(lost_notices)


@pytest.mark.usefixtures("_hurried")
async def test_a_slow_page_gets_what_it_missed_in_one_frame(
    connect: Connect, bobs: Client, run: Run, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SEND_SECONDS", 120.0)
    socket, page = await connect(bobs, room=1), Page()
    await socket.say(type="subscribe", run=run.public_id, width=WIDTH)
    for step in range(1, 21):
        await send([logged(step, step, loss=float(step))])
    frames = 0
    while page.cursor < await news_of(run):
        page.take(await socket.hear())
        frames += 1
    assert page.curves == {"loss": {float(step): step for step in range(1, 21)}}
    assert frames <= 4  # one was waiting, one was on its way, and the rest came together


# Any order of things

Step = tuple[str, int]
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(st.just("late"), st.integers(1, 4)),
        st.tuples(st.just("again"), st.just(0)),
        st.tuples(st.just("rewind"), st.integers(0, 6)),
        st.tuples(st.just("read"), st.integers(1, 3)),
        st.tuples(st.just("ring"), st.integers(0, 1)),
        st.tuples(st.just("reconnect"), st.integers(0, 1)),
    ),
    min_size=4,
    max_size=14,
)


class Story:
    """A run, and a page on it, whose connection and doorbell come and go. Each method is one thing
    that may happen.
    """

    def __init__(self, run: Run, client: Client, folder: Path) -> None:
        self.run, self.client, self.folder, self.page = run, client, folder, Page()
        self.attempt = self.step = self.seq = 0
        self.bell = True
        self.last: list[dict[str, Any]] = []
        self.held: list[dict[str, Any]] = []
        self.socket = Socket(client)

    async def play(self, happenings: list[Step]) -> None:
        await self._next_attempt()
        await self._open()
        for name, number in happenings:
            await getattr(self, name)(number)
        await self._ingest(self.held)
        await asyncio.wait_for(read_until(self.socket, self.page, await news_of(self.run)), 20)
        assert self.page.curves == await sync_to_async(drawn_by)(self.run)
        await self.socket.disconnect()
        await quiet()

    async def append(self, number: int) -> None:
        await self._ingest(self._new(number))

    async def late(self, number: int) -> None:
        """These events come after those that follow them."""
        self.held += self._new(number)

    async def again(self, _: int) -> None:
        await self._ingest(self.last)

    async def rewind(self, step: int) -> None:
        """The attempt dies; the next goes on from an earlier step."""
        await self._ingest(self.held)
        self.held = []
        await sync_to_async(Run.objects.filter(pk=self.run.pk).update)(state=State.QUEUED)
        await self._next_attempt()
        self.step, self.seq = min(step, self.step), 1
        await self._ingest([event(1, "rewind", step=self.step)])

    async def read(self, frames: int) -> None:
        for _ in range(frames):
            if await self.socket.receive_nothing(timeout=0.02, interval=0.002):
                return
            self.page.take(await self.socket.hear())

    async def ring(self, works: int) -> None:
        """From now on the doorbell works, or not."""
        self.bell = bool(works)

    async def reconnect(self, read_first: int) -> None:
        if read_first:
            await self.read(1)
        await self.socket.disconnect()
        await self._open()

    async def _open(self) -> None:
        self.socket = Socket(self.client)
        assert await self.socket.connect()
        await self.socket.say(
            type="subscribe", run=self.run.public_id, since=self.page.cursor, width=WIDTH
        )

    def _new(self, number: int) -> list[dict[str, Any]]:
        events = [
            logged(self.seq + i, self.step + i, loss=float(self.attempt * 1000 + self.step + i))
            for i in range(1, number + 1)
        ]
        self.step, self.seq = self.step + number, self.seq + number
        return events

    async def _ingest(self, events: list[dict[str, Any]]) -> None:
        self.last = events
        await sync_to_async(ingest)(self.run.pk, self.attempt, events, self.folder)

    async def _next_attempt(self) -> None:
        claimed = await sync_to_async(leases.claim)(self.run.pk, "host-a")
        assert claimed is not None
        self.attempt = claimed.number


@pytest.mark.usefixtures("_hurried")
@examples(
    max_examples=10,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(happenings=steps)
def test_any_order_of_appends_losses_reconnects_and_slow_reads_ends_in_the_same_curve(
    happenings: list[Step], still: Team, bobs: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(lifecycle.create_run(still, None, SPEC), bobs, Path(folder))
        ring = notify.publish
        with monkeypatch.context() as patch:
            patch.setattr(
                notify,
                "publish",
                lambda public_id, batch_count: ring(public_id, batch_count) if story.bell else None,
            )
            asyncio.run(story.play(happenings))
