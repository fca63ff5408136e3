"""One live socket: who is on the other side, what they follow, and the frames that they get."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import Error

from webapp import metrics
from webapp.live import frames, messages
from webapp.live.hub import Hub, hub, read
from webapp.runs.models import Run
from webapp.teams import access

log = logging.getLogger(__name__)
FRAME_SECONDS = 0.2
RECHECK_SECONDS = 1.0
RETRY_SECONDS = 1.0
MOST_SUBSCRIPTIONS = 50
MOST_MISTAKES = 20
NOT_SIGNED_IN, TOO_BIG, TOO_MUCH, BROKEN, LATER = 4401, 1009, 1008, 1011, 1013
GONE = "This run is not shown to you, or not any more."


@dataclass
class Subscription:
    """A run that a client follows: which series, how wide its charts are, and the cursor that it has been sent."""

    run: Run
    keys: frozenset[str] | None
    width: int
    cursor: int
    told: bool = False

    def wants(self, series: metrics.Series) -> bool:
        return self.keys is None or series.key in self.keys


class LiveConsumer(AsyncWebsocketConsumer):
    """A slow client delays only itself: what is new waits in the database, and the next frame has all of it."""

    async def connect(self) -> None:
        self.subscriptions: dict[int, Subscription] = {}
        self.list_cursors: dict[int, int] = {}
        self.waiting: dict[int, None] = {}
        self.woken = asyncio.Event()
        self.mistakes = 0
        self.sender: asyncio.Task[None] | None = None
        self.hub: Hub = hub()
        await self._read_actor()
        if self.actor.is_anonymous:
            await self.close(NOT_SIGNED_IN)
            return
        await self.accept()
        self.sender = asyncio.create_task(self._send_frames())

    async def disconnect(self, code: int) -> None:
        for run_id in [*self.subscriptions, Hub.LIST]:
            self.hub.unwatch(run_id, self._wake)
        if self.sender is not None:
            self.sender.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if len(text_data or bytes_data or "") > messages.LARGEST:
            await self.close(TOO_BIG)
            return
        try:
            message = messages.parse(text_data)
        except messages.BadMessage as problem:
            await self._complain(str(problem))
            return
        try:
            await self._follow(message)
        except Error as problem:
            log.warning("Postgres does not answer a subscription: %s", problem)
            await self.close(LATER)

    async def _follow(self, message: messages.Subscribe | messages.Unsubscribe | messages.SubscribeList) -> None:
        if isinstance(message, messages.Subscribe):
            await self._subscribe(message)
        elif isinstance(message, messages.Unsubscribe):
            self._leave(next((run_id for run_id, one in self.subscriptions.items() if one.run.public_id == message.run), None))
        elif self.actor.team is not None:
            self.hub.watch(Hub.LIST, "", self._wake)
            self.list_cursors = {}
            self._wake(Hub.LIST)

    async def _subscribe(self, message: messages.Subscribe) -> None:
        await self._read_actor()
        run = await read(lambda: access.visible(self.actor, Run).filter(public_id=message.run).first())
        if run is None:
            await self._send({"type": "refused", "run": message.run, "message": GONE})
        elif run.pk not in self.subscriptions and len(self.subscriptions) >= MOST_SUBSCRIPTIONS:
            text = f"One page can follow {MOST_SUBSCRIPTIONS} runs at once."
            await self._send({"type": "refused", "run": message.run, "message": text})
        else:
            keys = None if message.keys is None else frozenset(message.keys)
            self.subscriptions[run.pk] = Subscription(run, keys, message.width, message.since)
            self.hub.watch(run.pk, run.public_id, self._wake)
            self._wake(run.pk)

    def _leave(self, run_id: int | None) -> None:
        if run_id is not None:
            del self.subscriptions[run_id]
            self.hub.unwatch(run_id, self._wake)

    def _wake(self, run_id: int) -> None:
        self.waiting[run_id] = None
        self.woken.set()

    async def _send_frames(self) -> None:
        """One frame at a time for whatever has news, at most one in FRAME_SECONDS."""
        while True:
            await self.woken.wait()
            run_id = next(iter(self.waiting), None)
            if run_id is None:
                self.woken.clear()
                continue
            del self.waiting[run_id]
            try:
                if await self._frame(run_id):
                    await asyncio.sleep(FRAME_SECONDS)
            except Error as problem:
                log.warning("Postgres does not answer, trying again: %s", problem)
                self._wake(run_id)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("A live socket is closed, because a frame could not be made.")
                await self.close(BROKEN)
                return

    async def _frame(self, run_id: int) -> bool:
        """Send what is new of one run, or of the list; whether anything was sent."""
        if asyncio.get_running_loop().time() - self.checked_at > RECHECK_SECONDS:
            await self._read_actor()
        if run_id == Hub.LIST:
            return await self._list_frame()
        subscription = self.subscriptions.get(run_id)
        if subscription is None:
            return False
        try:
            if not access.may(self.actor, "view", subscription.run):
                raise Run.DoesNotExist
            frame = await self._run_frame(subscription)
        except Run.DoesNotExist:
            self._leave(run_id)
            frame = {"type": "refused", "run": subscription.run.public_id, "message": GONE}
        if frame is not None:
            await self._send(frame)
        return frame is not None

    async def _run_frame(self, subscription: Subscription) -> dict[str, Any] | None:
        """What lies past the subscription's cursor; None if that is nothing and the client knows it."""
        run_id, since = subscription.run.pk, subscription.cursor
        news = await self.hub.shared(run_id, since, frames.news_since, run_id, since)
        if news.cursor == since and subscription.told:
            return None
        subscription.told = True
        wanted = [series for series in news.series if subscription.wants(series)]
        frame = {"run": subscription.run.public_id, "changed": list(news.changed), "state": news.state}
        if news.rewound or any(series.count > subscription.width for series in wanted):
            keys = None if subscription.keys is None else sorted(subscription.keys)
            question = ("whole", tuple(keys or ()), keys is None, subscription.width)
            cursor, series = await self.hub.shared(run_id, question, frames.whole, run_id, keys, subscription.width)
            subscription.cursor = cursor
            return {"type": "reset", **frame, "cursor": cursor, "series": [one.json() for one in series]}
        subscription.cursor = news.cursor
        points = [{"key": one.key, "x": one.json()["x"], "y": one.json()["mean"]} for one in wanted]
        return {"type": "delta", **frame, "cursor": news.cursor, "series": points}

    async def _list_frame(self) -> bool:
        team = self.actor.team
        if team is None:
            return False
        rows = await self.hub.shared(Hub.LIST, team.pk, frames.list_rows, self.actor)
        changed = [row for run_id, (cursor, row) in rows.items() if self.list_cursors.get(run_id) != cursor]
        self.list_cursors = {run_id: cursor for run_id, (cursor, _) in rows.items()}
        if changed:
            await self._send({"type": "runs", "rows": changed})
        return bool(changed)

    async def _read_actor(self) -> None:
        self.actor = await read(access.actor_of, self.scope)
        self.checked_at = asyncio.get_running_loop().time()

    async def _complain(self, message: str) -> None:
        self.mistakes += 1
        if self.mistakes > MOST_MISTAKES:
            await self.close(TOO_MUCH)
        else:
            await self._send({"type": "error", "message": message})

    async def _send(self, frame: dict[str, Any]) -> None:
        """Send a frame, unless the client has just left: the server then tells so by an OSError, and `disconnect` follows."""
        with contextlib.suppress(OSError):
            await self.send(text_data=json.dumps(frame, allow_nan=False, separators=(",", ":")))
