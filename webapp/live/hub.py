"""The hub of a process: receives notices, polls as a safety net, wakes sockets, shares reads.

Notices come by Redis pub/sub, at most once. A lost one is made up for by polling the `batch_count`
of the watched runs: one query for all of them. All sockets that watch a run are woken at the same
moment, so that they ask the same question, and it is read and encoded once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import redis.asyncio
from django.conf import settings
from django.db import Error
from redis.exceptions import RedisError

from webapp.access.actors import Actor
from webapp.base import process_metrics
from webapp.base.notify import PREFIX
from webapp.live import frames
from webapp.live.connection_limits import ConnectionLimits
from webapp.live.reader_threads import read
from webapp.live.session_access import SessionAccess

log = logging.getLogger(__name__)
# Pause between two frames about a run, so that a run that logs without pause gives five a second.
FRAME_SECONDS = 0.2
# Lists change with every batch of every run of a team.
LIST_SECONDS = 1.0
# Longest delay of a change whose notice was lost, and of an access that was taken away.
LOOK_SECONDS = 2.0
RETRY_SECONDS = 1.0
T = TypeVar("T")
Wake = Callable[[int], None]


class Hub:
    """Wakes the watchers of runs; LIST stands for every run, JOBS for every job.

    There are no notices for jobs, which change within minutes: jobs are polled.
    """

    LIST, JOBS = 0, -1

    def __init__(self) -> None:
        self.connection_limits, self.session_access = ConnectionLimits(), SessionAccess()
        # All of these are used on the event loop only, so that they need no lock.
        self._watchers: dict[int, set[Wake]] = defaultdict(set)
        # Notices name a run by its public id.
        self._names: dict[str, int] = {}
        self._batch_counts: dict[int, int] = {}
        # Runs that were woken less than a pause ago, and whether they changed since then.
        self._resting: dict[int, bool] = {}
        self._shared: dict[tuple[int, Hashable], asyncio.Task[Any]] = {}
        self._lists: dict[int, dict[int, tuple[int, Any]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, run_id: int, public_id: str, wake: Wake) -> None:
        self._watchers[run_id].add(wake)
        self._names[public_id] = run_id
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._listen()),
                asyncio.create_task(self._poll_regularly()),
            ]

    def unwatch(self, run_id: int, wake: Wake) -> None:
        """Remove a watcher; without any watchers the hub ends its own tasks."""
        self._watchers[run_id].discard(wake)
        if not self._watchers[run_id]:
            del self._watchers[run_id]
            self._batch_counts.pop(run_id, None)
            self._names = {
                name: watched_id for name, watched_id in self._names.items() if watched_id != run_id
            }
            self._forget(run_id)
        if self.LIST not in self._watchers:
            self._lists.clear()
        if not self._watchers:
            for task in self._tasks:
                task.cancel()
            self._tasks = []

    async def shared(
        self, run_id: int, question: Hashable, work: Callable[..., T], *args: Any
    ) -> T:
        """Return `work(*args)`, computed once for all who ask the same question about a run.

        The result is shared until the run changes, for FRAME_SECONDS at most.
        """
        key = (run_id, question)
        task = self._shared.get(key)
        if task is None:
            task = self._shared[key] = asyncio.ensure_future(read(work, *args))
            task.add_done_callback(lambda done: self._answered(key, done))
        # A socket that leaves must not cancel the read for the others.
        result: T = await asyncio.shield(task)
        return result

    async def list_rows(self, actor: Actor) -> dict[int, tuple[int, Any]]:
        """The rows of the list of the actor's team; only those that changed are read."""
        team = actor.team.pk if actor.team else 0
        rows = await self.shared(
            self.LIST, team, frames.list_rows, actor, self._lists.get(team, {})
        )
        self._lists[team] = rows
        return rows

    def _answered(self, key: tuple[int, Hashable], task: asyncio.Task[Any]) -> None:
        # An error is told to those who wait for it, and not to those who ask later.
        failed = task.cancelled() or task.exception() is not None
        asyncio.get_running_loop().call_later(0 if failed else FRAME_SECONDS, self._drop, key, task)

    def _drop(self, key: tuple[int, Hashable], task: asyncio.Task[Any]) -> None:
        # The run may have changed since, and the same question may have been asked again.
        if self._shared.get(key) is task:
            del self._shared[key]

    def _forget(self, run_id: int) -> None:
        for key in [key for key in self._shared if key[0] == run_id]:
            del self._shared[key]

    def _wake_watchers(self, run_id: int) -> None:
        """Wake the watchers at once, or FRAME_SECONDS after they were last woken."""
        if run_id not in self._watchers:
            return
        if run_id in self._resting:
            self._resting[run_id] = True
            return
        self._resting[run_id] = False
        # Before the watchers ask: an answer from before the change would be shared with them.
        self._forget(run_id)
        for wake in list(self._watchers[run_id]):
            wake(run_id)
        pause = FRAME_SECONDS if run_id > self.LIST else LIST_SECONDS
        asyncio.get_running_loop().call_later(pause, self._rested, run_id)

    def _rested(self, run_id: int) -> None:
        if self._resting.pop(run_id):
            self._wake_watchers(run_id)

    async def _listen(self) -> None:
        """Receive notices; after any outage of Redis, connect again."""
        while True:
            try:
                # With a time limit redis sends by `asyncio.wait_for`, which in Python 3.11 may
                # swallow the end of this task.
                async with (
                    redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_timeout=None) as client,
                    client.pubsub() as ear,
                ):
                    await ear.psubscribe(f"{PREFIX}*")
                    while True:
                        message = await ear.get_message(timeout=None) or {"type": "nothing"}
                        if message["type"] == "psubscribe":
                            # Notices that were sent before the subscription are lost.
                            for run_id in list(self._watchers):
                                self._wake_watchers(run_id)
                        elif message["type"] == "pmessage":
                            public_id = message["channel"].decode().removeprefix(PREFIX)
                            batch_count = int(json.loads(message["data"])["news"])
                            if public_id in self._names:
                                self._batch_counts[self._names[public_id]] = batch_count
                                self._wake_watchers(self._names[public_id])
                            # A notice does not name the team, so that every list looks.
                            self._wake_watchers(self.LIST)
            except (RedisError, OSError, ValueError, KeyError) as problem:
                process_metrics.NOTIFY_FAILURES.labels(end="hear").inc()
                log.warning(
                    "Redis notices cannot be received (%s); polling every %s s until they can.",
                    problem,
                    LOOK_SECONDS,
                )
            await asyncio.sleep(RETRY_SECONDS)

    async def _poll_regularly(self) -> None:
        """Poll, for notices that were lost."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._poll()
            except Error as problem:
                log.warning("Postgres does not answer: %s", problem)

    async def _poll(self) -> None:
        """Wake watchers of runs whose batch count changed, of the lists, and of changed access."""
        runs = [run_id for run_id in self._watchers if run_id > self.LIST]
        current = await read(frames.cursors, runs) if runs else {}
        # A run that was deleted has no count any more: its watchers are woken and refused.
        changed_runs = [
            run_id for run_id in runs if current.get(run_id) != self._batch_counts.get(run_id)
        ]
        self._batch_counts.update(current)
        for run_id in [*changed_runs, self.LIST, self.JOBS]:
            self._wake_watchers(run_id)
        await self.session_access.recheck()


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of this process (of this event loop, to be exact)."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())
