"""A bound on how much one request may send, held before anything of it is kept: Django writes a
body to the disk as it comes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]


class PathPrefixRouter:
    """Requests whose path begins with one of `prefixes` go to `inside`, all others to `outside`."""

    def __init__(self, prefixes: tuple[str, ...], inside: App, outside: App) -> None:
        self.prefixes, self.inside, self.outside = prefixes, inside, outside

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        app = self.inside if scope["path"].startswith(self.prefixes) else self.outside
        await app(scope, receive, send)


class LimitedBody:
    """An ASGI application that refuses bodies over `limit` bytes with 413; one that grows past it
    is cut off.
    """

    def __init__(self, app: App, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self.limit:
            await self._refuse(send)
            return
        await self.app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            return message if taken <= self.limit else {"type": "http.disconnect"}

        return counted

    async def _refuse(self, send: Send) -> None:
        text = f"This is more than the {self.limit / 2**30:.3g} GiB that one upload may have here.\n".encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(text)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": text})
