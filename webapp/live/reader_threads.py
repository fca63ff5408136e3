"""Database reads of live sockets, off the event loop, in threads that no page request uses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from channels.db import DatabaseSyncToAsync

# Each thread keeps a connection to Postgres. Sockets share their reads, so that few threads serve
# thousands of them.
THREADS = ThreadPoolExecutor(4, thread_name_prefix="live")
T = TypeVar("T")


def read(work: Callable[..., T], *args: Any) -> Awaitable[T]:
    """Run `work(*args)` in one of the threads."""
    done: Awaitable[T] = DatabaseSyncToAsync(work, thread_sensitive=False, executor=THREADS)(*args)
    return done
