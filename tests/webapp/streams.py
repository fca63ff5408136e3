"""Reading answers that the web streams."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync


def content_of(answer: Any) -> bytes:
    """All of a streamed answer, in this thread, so that it sees the test's transaction."""

    async def collect() -> bytes:
        return b"".join([block async for block in answer.streaming_content])

    return async_to_sync(collect)()
