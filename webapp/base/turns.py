"""Turns of slow pages: few at a time, few of one person, and a wait that ends.

Pages that read uploaded files or wait for another process take seconds. In the threads of all other
pages a few of them at once would stop the site, so they have threads of their own. One that only
waits calls `give_up`: its turn is for pages that work.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

# Each may need the memory of one upload that is being read.
SLOW_PAGES = 4
SLOW_PAGES_OF_ONE = 2
# Pages without a turn that wait for another process.
MOST_WAITING = 16
THREADS = ThreadPoolExecutor(SLOW_PAGES + MOST_WAITING, thread_name_prefix="slow-pages")
# Slow pages that run or wait, of one person and of all.
MOST_OF_ONE = 8
MOST = 64
# Seconds until a page that waits is refused.
LONGEST_WAIT = 20.0


Result = TypeVar("Result")
_current = threading.local()


class NoTurn(Exception):
    """Too many slow pages run; the message says what to do."""


@dataclass
class Person:
    """The slow pages of one person: how many run or wait, and the turns that are left."""

    pages: int = 0
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SLOW_PAGES_OF_ONE))


class Turns:
    """The slow pages of one process. Used on its event loop only, so that it needs no lock."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(SLOW_PAGES)
        self._persons: dict[str, Person] = {}

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[Turn]:
        """Wait for a turn of the person with that key, and hold it. Raises NoTurn."""
        person = self._persons.setdefault(key, Person())
        if person.pages >= MOST_OF_ONE:
            raise NoTurn("Too many slow pages of yours are being made. Wait until one has loaded.")
        if sum(other.pages for other in self._persons.values()) >= MOST:
            raise NoTurn("Many slow pages are being made. Try again in a moment.")
        person.pages += 1
        try:
            async with AsyncExitStack() as held:
                for semaphore in (person.free, self._free):
                    await held.enter_async_context(_in_time(semaphore))
                yield Turn(held)
        finally:
            person.pages -= 1
            if not person.pages:
                del self._persons[key]


class Turn:
    """The turn of a page. The page runs in a thread, and its turn belongs to the event loop."""

    def __init__(self, held: AsyncExitStack) -> None:
        self._held, self._loop = held, asyncio.get_running_loop()

    def execute(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Call a function in the page's thread, which may call `give_up`."""
        _current.turn = self
        try:
            return function(*arguments)
        finally:
            _current.turn = None

    def end(self) -> None:
        asyncio.run_coroutine_threadsafe(self._held.aclose(), self._loop)


def give_up() -> None:
    """Let another page have the turn of this one, which only waits from now on."""
    if turn := getattr(_current, "turn", None):
        turn.end()


@asynccontextmanager
async def _in_time(semaphore: asyncio.Semaphore) -> AsyncIterator[None]:
    """Hold the semaphore. Raises NoTurn if that takes too long."""
    try:
        async with asyncio.timeout(LONGEST_WAIT):
            await semaphore.acquire()
    except TimeoutError:
        raise NoTurn("Other slow pages take long just now. Try again in a moment.") from None
    try:
        yield
    finally:
        semaphore.release()
