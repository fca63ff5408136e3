"""A limit on the size of request bodies, checked while they arrive.

Django writes a body to the disk as it arrives, so a check in a view would be too late.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]


class PathPrefixRouter:
    """Sends paths that begin with one of `prefixes` to `inside`, all others to `outside`."""

    def __init__(self, prefixes: tuple[str, ...], inside: App, outside: App) -> None:
        self.prefixes, self.inside, self.outside = prefixes, inside, outside

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        app = self.inside if scope["path"].startswith(self.prefixes) else self.outside
        await app(scope, receive, send)


class LimitedBody:
    """An ASGI middleware that answers 413 to bodies over `limit` bytes.

    A body without a length that grows over the limit is cut off.
    """

    def __init__(self, app: App, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        content_length = dict(scope["headers"]).get(b"content-length", b"0")
        if content_length.isdigit() and int(content_length) > self.limit:
            await self._refuse(send)
            return
        await self.app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # Django takes this as a client that is gone: it stops reading and deletes its file.
            return message if received <= self.limit else {"type": "http.disconnect"}

        return counted

    async def _refuse(self, send: Send) -> None:
        limit = f"{self.limit / 2**30:.3g} GiB"
        text = f"This is more than the {limit} that one upload may have here.\n".encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(text)).encode()),
            # The rest of the body is not read, so the connection cannot take another request.
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": text})
