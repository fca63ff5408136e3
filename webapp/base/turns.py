"""Turns of slow pages: few at a time, few of one person, and a wait that ends.

Pages that read uploaded files or wait for another process take seconds. In the threads of all other
pages a few of them at once would stop the site, so they have threads of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

# Each may need the memory of one upload that is being read.
SLOW_PAGES = 4
SLOW_PAGES_OF_ONE = 2
THREADS = ThreadPoolExecutor(SLOW_PAGES, thread_name_prefix="slow-pages")
# Slow pages that run or wait, of one person and of all.
MOST_OF_ONE = 8
MOST = 64
# Seconds until a page that waits is refused.
LONGEST_WAIT = 20.0


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
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Wait for a turn of the person with that key, and hold it. Raises NoTurn."""
        person = self._persons.setdefault(key, Person())
        if person.pages >= MOST_OF_ONE:
            raise NoTurn("Too many slow pages of yours are being made. Wait until one has loaded.")
        if sum(other.pages for other in self._persons.values()) >= MOST:
            raise NoTurn("Many slow pages are being made. Try again in a moment.")
        person.pages += 1
        try:
            async with _in_time(person.free), _in_time(self._free):
                yield
        finally:
            person.pages -= 1
            if not person.pages:
                del self._persons[key]


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
