"""Request bodies, read in pieces up to a limit that the head of the request has decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from webapp.base.asgi_types import Message, Receive, Scope
from webapp.base.number_text import bytes_size

# Seconds until more of a body must have arrived, and bytes a second that it must have on average
# after as many seconds: a body in drops would keep its connection for days.
PAUSE_SECONDS = 30.0
LEAST_RATE = 500
# A body of at most this length is thrown away after an early answer, so that the client can read
# the answer; with a longer one the connection is closed.
MOST_DISCARDED = 16 * 2**20
CLOSE = (b"connection", b"close")


class BodyError(Exception):
    """A body that is not read to its end; the message is for the client, with `status`."""

    status = 400


class BodyTooLong(BodyError):
    status = 413


class BodyTooSlow(BodyError):
    status = 408


class ClientGone(Exception):
    """The client disconnected before it had sent its whole request."""


def announced_length(scope: Scope) -> int | None:
    """Return the length of the body; None for one that states none (chunked)."""
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return None
    # The server's parser refuses a length that is no number.
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() else None


def require_length(scope: Scope, limit: int, reason: str) -> None:
    """Raise BodyTooLong, with the limit and `reason`, if the head announces more than `limit`."""
    if (announced_length(scope) or 0) > limit:
        raise too_long(limit, reason)


def too_long(limit: int, reason: str) -> BodyTooLong:
    return BodyTooLong(f"This is more than the {bytes_size(limit)} that {reason}")


async def chunks(receive: Receive, limit: int, reason: str) -> AsyncIterator[bytes]:
    """Yield the body. Raises BodyTooLong, with `reason`, BodyTooSlow and ClientGone."""
    started, size, more = asyncio.get_running_loop().time(), 0, True
    while more:
        message = await _next(receive, started + PAUSE_SECONDS + size / LEAST_RATE)
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise too_long(limit, reason)
        yield chunk
        more = message.get("more_body", False)


def headers_after_unread(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer to a request whose body was not read to its end."""
    length = announced_length(scope)
    return [CLOSE] if length is None or length > MOST_DISCARDED else []


async def _next(receive: Receive, deadline: float) -> Message:
    now = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(min(PAUSE_SECONDS, deadline - now)):
            return await receive()
    except TimeoutError:
        raise BodyTooSlow("The request arrived too slowly. Send it again.") from None
