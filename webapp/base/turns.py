"""Turns of slow pages: few at a time, few of one person, and a wait that ends.

Pages that read uploaded files or wait for another process take seconds. In the threads of all other
pages a few of them at once would stop the site, so they have threads of their own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

# Each may need the memory of one upload that is being read.
SLOW_PAGES = 4
THREADS = ThreadPoolExecutor(SLOW_PAGES, thread_name_prefix="slow-pages")
# Slow pages of one person that run or wait, and of all persons.
MOST_OF_ONE = 4
MOST = 64
# Seconds until a page that waits is refused.
LONGEST_WAIT = 20.0


class NoTurn(Exception):
    """Too many slow pages run; the message says what to do."""


class Turns:
    """The slow pages of one process. Used on its event loop only, so that it needs no lock."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(SLOW_PAGES)
        self._of_person: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, person: str) -> AsyncIterator[None]:
        """Wait for a turn and hold it. Raises NoTurn."""
        if self._of_person[person] >= MOST_OF_ONE:
            raise NoTurn("You have this many slow pages open already. Wait until one has loaded.")
        if self._of_person.total() >= MOST:
            raise NoTurn("Many slow pages are being made. Try again in a moment.")
        self._of_person[person] += 1
        try:
            try:
                async with asyncio.timeout(LONGEST_WAIT):
                    await self._free.acquire()
            except TimeoutError:
                raise NoTurn("Others' pages take long just now. Try again in a moment.") from None
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._of_person[person] -= 1
            # A Counter keeps names whose count is 0: without this it grows with every person.
            if not self._of_person[person]:
                del self._of_person[person]
