"""A limit on the requests that one address has in flight, also behind proxies."""

from __future__ import annotations

from collections import Counter

from webapp.base.asgi_types import App, Receive, Scope, Send, send_text

TOO_MANY = "Too many requests of this address are being answered. Try again in a moment."


class InFlightLimit:
    """An ASGI middleware, to be used inside `TrustedProxies`. Answers 503 over the limit."""

    def __init__(self, app: App, limit: int) -> None:
        self.app, self.limit = app, limit
        self._in_flight: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        address = (scope.get("client") or ("", 0))[0]
        if self._in_flight[address] >= self.limit:
            await send_text(
                send, 503, TOO_MANY, ((b"retry-after", b"1"), (b"connection", b"close"))
            )
            return
        self._in_flight[address] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._in_flight[address] -= 1
            # A Counter keeps names whose count is 0: without this it grows with every address.
            if not self._in_flight[address]:
                del self._in_flight[address]
