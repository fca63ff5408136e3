"""Types of ASGI, and the choice of an application by path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]


class PathPrefixRouter:
    """Sends paths that begin with one of `prefixes` to `inside`, all others to `outside`."""

    def __init__(self, prefixes: tuple[str, ...], inside: App, outside: App) -> None:
        self.prefixes, self.inside, self.outside = prefixes, inside, outside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.inside if scope["path"].startswith(self.prefixes) else self.outside
        await app(scope, receive, send)


async def send_text(
    send: Send, status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    """Answer with a plain text."""
    body = f"{text}\n".encode()
    fixed = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
