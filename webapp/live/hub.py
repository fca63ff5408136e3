"""One per process: hears the doorbell, looks by itself now and then, wakes who watches, and lets them share reads.

The doorbell is Redis pub/sub, at most once. Whoever misses it is woken by the regular look at the `news` of the watched runs: one query
for all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import redis.asyncio
from channels.db import DatabaseSyncToAsync
from django.conf import settings
from django.db import Error
from redis.exceptions import RedisError

from webapp.live import frames
from webapp.live.doorbell import PREFIX

log = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
RETRY_SECONDS = 1.0
THREADS = ThreadPoolExecutor(4, thread_name_prefix="live")
T = TypeVar("T")
Wake = Callable[[int], None]


def read(work: Callable[..., T], *args: Any) -> Awaitable[T]:
    """Run a database read off the event loop."""
    done: Awaitable[T] = DatabaseSyncToAsync(work, thread_sensitive=False, executor=THREADS)(*args)
    return done


class Hub:
    """`watch` and `unwatch` say who wants to be woken for a run; LIST stands for every run."""

    LIST = 0

    def __init__(self) -> None:
        self._watchers: dict[int, set[Wake]] = defaultdict(set)
        self._names: dict[str, int] = {}
        self._known: dict[int, int] = {}
        self._shared: dict[tuple[int, Hashable], asyncio.Task[Any]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, run_id: int, public_id: str, wake: Wake) -> None:
        self._watchers[run_id].add(wake)
        self._names[public_id] = run_id
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._look_regularly())]

    def unwatch(self, run_id: int, wake: Wake) -> None:
        """Also ends the hub's own tasks when nobody is left."""
        self._watchers[run_id].discard(wake)
        if not self._watchers[run_id]:
            del self._watchers[run_id]
            self._known.pop(run_id, None)
            self._names = {name: known for name, known in self._names.items() if known != run_id}
            self._forget(run_id)
        if not self._watchers:
            for task in self._tasks:
                task.cancel()
            self._tasks = []

    async def shared(self, run_id: int, question: Hashable, work: Callable[..., T], *args: Any) -> T:
        """The answer of `work(*args)`, read once for all who ask the same of a run until there is news of it."""
        key = (run_id, question)
        if key not in self._shared:
            self._shared[key] = asyncio.ensure_future(read(work, *args))
        task = self._shared[key]
        try:
            found: T = await asyncio.shield(task)
            return found
        except Exception:
            self._shared.pop(key, None)
            raise

    def _ring(self, public_id: str) -> None:
        self._wake(self._names.get(public_id, self.LIST))

    def _wake(self, run_id: int) -> None:
        for watched in {run_id, self.LIST}:
            self._forget(watched)
            for wake in list(self._watchers.get(watched, ())):
                wake(watched)

    def _wake_all(self) -> None:
        for run_id in list(self._watchers):
            self._wake(run_id)

    def _forget(self, run_id: int) -> None:
        for key in [key for key in self._shared if key[0] == run_id]:
            del self._shared[key]

    async def _listen(self) -> None:
        """Hear the doorbell; through any outage of Redis, try again."""
        while True:
            try:
                async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as ear:
                    await ear.psubscribe(f"{PREFIX}*")
                    async for message in ear.listen():
                        if message["type"] == "psubscribe":
                            self._wake_all()  # somebody may have rung while nobody heard
                        elif message["type"] == "pmessage":
                            self._ring(message["channel"].decode().removeprefix(PREFIX))
            except (RedisError, OSError) as problem:
                log.warning("Redis cannot be heard (%s); looking every %s s until it can.", problem, LOOK_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)

    async def _look_regularly(self) -> None:
        """The safety net under the doorbell."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except Error as problem:
                log.warning("Postgres does not answer: %s", problem)

    async def _look(self) -> None:
        runs = [run_id for run_id in self._watchers if run_id != self.LIST]
        now = await read(frames.cursors, runs) if runs else {}
        changed = [run_id for run_id in runs if now.get(run_id) != self._known.get(run_id)]
        self._known.update(now)
        for run_id in changed or ([self.LIST] if self.LIST in self._watchers else []):
            self._wake(run_id)


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of this process (of this event loop, to be exact)."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())
