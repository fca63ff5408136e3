"""One live socket: its actor, its subscriptions and the frames that it sends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from webapp.access import permissions
from webapp.access.actors import Actor
from webapp.base import logs, process_metrics
from webapp.base.outages import OUTAGES
from webapp.live import frames, messages
from webapp.live.frames import Answer, TooMany
from webapp.live.hub import FRAME_SECONDS, Hub, hub
from webapp.live.reader_threads import read
from webapp.live.session_access import session_of
from webapp.runs.models import Run

log = logging.getLogger(__name__)
RETRY_SECONDS = 1.0
# How long a client may accept nothing. It loses nothing by being disconnected: it connects again
# and continues from its cursor.
SEND_SECONDS = 10.0
# A client that is disconnected because it accepts nothing may not accept the close code either.
CLOSE_SECONDS = 1.0
MOST_MISTAKES = 20
# An average of five a second, as many as frames go the other way.
MOST_MESSAGES = 300
MESSAGES_SECONDS = 60.0
# Close codes of IANA's WebSocket registry, and codes of our own: RFC 6455 (section 7.4.2) leaves
# 4000 to 4999 to applications. docs/live-protocol.md says what a page does after each.
TOO_MUCH, TOO_BIG, BROKEN, LATER = 1008, 1009, 1011, 1013
NOT_SIGNED_IN, TOO_SLOW, TOO_MANY = 4401, 4408, 4429
GONE = "This run is not shown to you, or not any more."
AWAY = "The server cannot read its database; it tries again."

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass
class Subscription:
    """A run that a client follows: its series, the width of its charts, the last cursor sent.

    `is_current` is set once a frame was sent since the subscription, or since the last outage.
    """

    run: Run
    keys: frozenset[str] | None
    width: int
    cursor: int
    is_current: bool = False


class SocketEnded(Exception):
    """The connection ends with close `code`; None if the client has left already."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


async def live(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The ASGI application at `/live/`."""
    await LiveSocket(scope, receive, send).serve()


class LiveSocket:
    """One live socket. A slow client delays only itself: new data waits in the database."""

    actor: Actor

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.hub: Hub = hub()
        self.session = session_of(scope)
        self.subscriptions: dict[int, Subscription] = {}
        self.list_cursors: dict[int, int] = {}
        self.sent_jobs: tuple[messages.JobRow, ...] | None = None
        # A dictionary as an ordered set: runs are served in turn, and a run that changes again
        # while it waits is sent once.
        self.waiting: dict[int, None] = {}
        self.woken = asyncio.Event()
        self.mistakes = self.said = 0
        self.said_since = 0.0
        self.stalled = False

    async def serve(self) -> None:
        await self._receive()  # websocket.connect
        try:
            self.actor = await self.hub.session_access.enter(self.scope, self._wake_all)
        except OUTAGES as problem:
            log.warning("Postgres does not answer a new socket: %s", problem)
            await self._close(LATER)
            return
        try:
            if self.actor.is_anonymous:
                await self._close(NOT_SIGNED_IN)
                return
            # Accepted before it is refused: a page can read the close code of an open socket only.
            await self._send({"type": "websocket.accept"})
            if not self.hub.connection_limits.enter(self.session):
                await self._close(TOO_MANY)
                return
            try:
                with logs.log_context(user=self.actor.user.pk if self.actor.user else None):
                    await self._talk()
            finally:
                for run_id in list(self.subscriptions):
                    self._leave(run_id)
                for watched in (Hub.LIST, Hub.JOBS):
                    self.hub.unwatch(watched, self._wake)
                self.hub.connection_limits.leave(self.session)
        finally:
            self.hub.session_access.leave(self.scope, self._wake_all)

    async def _talk(self) -> None:
        """Receive and send until one of the two ends."""
        tasks = [asyncio.create_task(self._hear()), asyncio.create_task(self._send_frames())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            # Both have ended before their subscriptions are removed, so that none is added
            # afterwards.
            await asyncio.gather(*tasks, return_exceptions=True)
        problem = done.pop().exception()
        if isinstance(problem, SocketEnded):
            await self._close(problem.code)
        elif problem is not None:
            log.error(
                "A live socket is closed, because a frame could not be made.", exc_info=problem
            )
            await self._close(BROKEN)

    # Messages from the client

    async def _hear(self) -> None:
        while True:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                raise SocketEnded(None)
            text = event.get("text")
            self._measure(text if text is not None else event.get("bytes") or b"")
            try:
                message = messages.parse(text)
            except messages.BadMessage as problem:
                self.mistakes += 1
                if self.mistakes > MOST_MISTAKES:
                    raise SocketEnded(TOO_MUCH) from None
                await self._say(messages.Mistake(type="error", message=str(problem)))
                continue
            try:
                await self._follow(message)
            except OUTAGES as problem:
                log.warning("Postgres does not answer a subscription: %s", problem)
                raise SocketEnded(LATER) from None

    def _measure(self, frame: str | bytes) -> None:
        """Raise SocketEnded if this frame is too long or too many came lately."""
        if len(frame) > messages.LARGEST:
            raise SocketEnded(TOO_BIG)
        # Counted in windows of a minute: a page may say all of its messages at once when it opens.
        now = asyncio.get_running_loop().time()
        if now - self.said_since > MESSAGES_SECONDS:
            self.said, self.said_since = 0, now
        self.said += 1
        if self.said > MOST_MESSAGES:
            raise SocketEnded(TOO_MUCH)

    async def _follow(self, message: BaseModel) -> None:
        if isinstance(message, messages.Subscribe):
            await self._subscribe(message)
        elif isinstance(message, messages.Unsubscribe):
            self._leave(
                next(
                    (
                        run_id
                        for run_id, subscription in self.subscriptions.items()
                        if subscription.run.public_id == message.run
                    ),
                    None,
                )
            )
        elif isinstance(message, messages.Ping):
            await self._say(messages.Pong(type="pong"))
        elif self.actor.team is not None:
            if isinstance(message, messages.SubscribeJobs):
                watched, self.sent_jobs = Hub.JOBS, None
            else:
                watched, self.list_cursors = Hub.LIST, {}
            self.hub.watch(watched, "", self._wake)
            self._wake(watched)

    async def _subscribe(self, message: messages.Subscribe) -> None:
        self.actor = await self.hub.session_access.actor_now(self.scope)
        # A run that the person may not see gets the same answer as one that does not exist.
        run = await read(
            lambda: (
                permissions.visible(self.actor, Run)
                .filter(public_id=message.run)
                .defer("spec")
                .first()
            )
        )
        refusal = GONE
        if run is not None:
            is_subscribed = run.pk in self.subscriptions
            refusal = (
                ""
                if is_subscribed
                else self.hub.connection_limits.subscribe(self.session, len(self.subscriptions))
            )
        if run is None or refusal:
            await self._say(messages.Refused(type="refused", run=message.run, message=refusal))
            return
        keys = None if message.keys is None else frozenset(message.keys)
        self.subscriptions[run.pk] = Subscription(run, keys, message.width, message.since)
        self.hub.watch(run.pk, run.public_id, self._wake)
        self._wake(run.pk)

    def _leave(self, run_id: int | None) -> None:
        if run_id is not None:
            del self.subscriptions[run_id]
            self.hub.unwatch(run_id, self._wake)
            self.hub.connection_limits.unsubscribe(self.session)

    # Frames to the client

    def _wake(self, run_id: int) -> None:
        self.waiting[run_id] = None
        self.woken.set()

    def _wake_all(self) -> None:
        for run_id in self.subscriptions:
            self._wake(run_id)

    async def _send_frames(self) -> None:
        """Send one frame at a time for runs that changed, at most one in FRAME_SECONDS."""
        while True:
            await self.woken.wait()
            run_id = next(iter(self.waiting), None)
            if run_id is None:
                self.woken.clear()
                continue
            # Removed before the read: a change during the read wakes the run again.
            del self.waiting[run_id]
            try:
                await self._tell(run_id)
                self.stalled = False
            except OUTAGES as problem:
                log.warning("Postgres does not answer, trying again: %s", problem)
                await self._stall(run_id)

    async def _stall(self, run_id: int) -> None:
        """Tell the client once about an outage; the next frame, even an empty one, ends it."""
        if not self.stalled:
            self.stalled = True
            await self._say(messages.Stalled(type="stalled", message=AWAY))
        for subscription in self.subscriptions.values():
            subscription.is_current = False
        # All runs, so that each sends its next frame: the page takes it as the end of the outage.
        await asyncio.sleep(RETRY_SECONDS)
        for watched in [run_id, *self.subscriptions]:
            self._wake(watched)

    async def _tell(self, run_id: int) -> None:
        """Send the changes of one run, or of a list."""
        self.actor = await self.hub.session_access.actor(self.scope)
        if self.actor.is_anonymous:
            for subscription in self.subscriptions.values():
                await self._say(
                    messages.Refused(type="refused", run=subscription.run.public_id, message=GONE)
                )
            raise SocketEnded(NOT_SIGNED_IN)
        if run_id == Hub.LIST:
            await self._send_all(await self._list_frames())
            return
        if run_id == Hub.JOBS:
            await self._send_all(await self._jobs_frames())
            return
        if run_id not in self.subscriptions:
            return
        subscription = self.subscriptions[run_id]
        try:
            if not permissions.may(self.actor, "view", subscription.run):
                raise Run.DoesNotExist
            answer = await self._answer(subscription)
        except (Run.DoesNotExist, TooMany) as problem:
            # The client may have subscribed again during the read; that subscription stays.
            if self.subscriptions.get(run_id) is subscription:
                self._leave(run_id)
            text = str(problem) if isinstance(problem, TooMany) else GONE
            await self._say(
                messages.Refused(type="refused", run=subscription.run.public_id, message=text)
            )
            return
        # The cursor moves only after the last part, as it does on the page.
        if answer is not None and await self._send_all(answer.frames, subscription):
            process_metrics.RESETS.inc(answer.is_reset)
            process_metrics.COALESCED.inc(
                0 if answer.is_reset else max(0, answer.cursor - subscription.cursor - 1)
            )
            subscription.cursor = answer.cursor

    async def _answer(self, subscription: Subscription) -> Answer | None:
        """The data after the subscription's cursor; None if there is none and the client knows."""
        run_id, since, keys, width = (
            subscription.run.pk,
            subscription.cursor,
            subscription.keys,
            subscription.width,
        )
        # Two steps, because sockets with the same cursor share the read of the changes, and only
        # those with the same series and width also share the frames.
        changes = await self.hub.shared(run_id, since, frames.news_since, run_id, since)
        if changes.cursor == since and subscription.is_current:
            return None
        subscription.is_current = True
        return await self.hub.shared(
            run_id,
            (since, changes.cursor, keys, width),
            frames.answer,
            changes,
            run_id,
            keys,
            width,
        )

    async def _list_frames(self) -> Sequence[str]:
        if self.actor.team is None:
            return ()
        rows = await self.hub.list_rows(self.actor)
        changed_runs = tuple(
            (run_id, cursor)
            for run_id, (cursor, _) in rows.items()
            if self.list_cursors.get(run_id) != cursor
        )
        removed = not self.list_cursors.keys() <= rows.keys()
        self.list_cursors = {run_id: cursor for run_id, (cursor, _) in rows.items()}
        if not changed_runs and not removed:
            return ()
        return await self.hub.shared(
            Hub.LIST,
            (removed, changed_runs),
            frames.list_frames,
            [rows[run_id][1] for run_id, _ in changed_runs],
            removed,
        )

    async def _jobs_frames(self) -> Sequence[str]:
        if self.actor.team is None:
            return ()
        rows = await self.hub.shared(Hub.JOBS, self.actor.team.pk, frames.job_rows, self.actor)
        if rows == self.sent_jobs:
            return ()
        self.sent_jobs = rows
        return (await read(frames.job_frame, rows),)

    async def _send_all(
        self, texts: Sequence[str], subscription: Subscription | None = None
    ) -> bool:
        """Send all parts of a frame; False if the client changed its subscription meanwhile."""
        for text in texts:
            if (
                subscription is not None
                and self.subscriptions.get(subscription.run.pk) is not subscription
            ):
                return False
            await self._send_text(text)
            # The pause bounds the frames of a page to five a second, parts of a long answer
            # included.
            await asyncio.sleep(FRAME_SECONDS)
        return True

    async def _say(self, message: BaseModel) -> None:
        await self._send_text(message.model_dump_json())

    async def _send_text(self, text: str) -> None:
        """Send one text frame.

        Raises SocketEnded if the client has left or did not accept the previous frame in time.
        """
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send({"type": "websocket.send", "text": text})
        except TimeoutError:
            process_metrics.TOO_SLOW.inc()
            raise SocketEnded(TOO_SLOW) from None
        except OSError:
            raise SocketEnded(None) from None
        process_metrics.FRAMES.inc()
        process_metrics.BYTES.inc(len(text))

    async def _close(self, code: int | None) -> None:
        """Send the close code, unless the client has left."""
        if code is None:
            return
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._send({"type": "websocket.close", "code": code})
