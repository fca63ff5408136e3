"""The HTTP protocol of the web server, with limits on what a client costs before any of our code.

uvicorn's own has none: a request's head may be of any size, arrive over any time and be followed by
any number of others, on any number of connections.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import httptools
from django.conf import settings
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from webapp.base import proxies

# Bytes of the request line and all headers. Mappings of data sets are sent in the address.
MOST_HEAD_BYTES = 64 * 2**10
# Each header becomes three objects, so that short ones cost many times their bytes.
MOST_HEADERS = 200
# Requests that a client sends without waiting for answers. Browsers send none.
MOST_PIPELINED = 8
TOO_LARGE = "The request line and headers are longer than this server accepts.\n"
TOO_MANY = "Too many connections are open from this address. Close some and try again.\n"
# Connections by address, of those that no request has turned into a WebSocket.
_connections: Counter[str] = Counter()


class LimitedHttp(HttpToolsProtocol):
    """A connection. `python -m uvicorn --http webapp.base.http_protocol:LimitedHttp` uses it."""

    # Seconds without a complete head: of a new connection, and of one whose request was answered.
    head_seconds = 20.0

    _address: str | None = None
    _timer: asyncio.TimerHandle | None = None
    # Of the current head: bytes that came while it was incomplete, and those of its parsed parts.
    _received = _parsed = 0
    _in_head = True
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        # All visitors of a proxy share its address; `InFlightLimit` counts their requests.
        if not proxies.is_trusted(address, settings.STILLROOM_TRUSTED_PROXIES):
            if _connections[address] >= settings.STILLROOM_CONNECTIONS:
                self._refuse(503, TOO_MANY)
                return
            self._address = address
            _connections[address] += 1
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_counting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._received += len(data)
        super().data_received(data)
        if self._in_head and self._received > MOST_HEAD_BYTES and not self._refused:
            self._refuse(431, TOO_LARGE)

    def send_400_response(self, msg: str) -> None:
        # An error that a callback below raised has been answered already.
        if not self._refused:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._received = self._parsed = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._parsed += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._parsed += len(name) + len(value)
        if len(self.headers) > MOST_HEADERS or self._parsed > MOST_HEAD_BYTES:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._parsed > MOST_HEAD_BYTES or len(self.pipeline) >= MOST_PIPELINED:
            self._refuse_head()
        self._cancel_timer()
        super().on_headers_complete()
        # What follows is read once the application asks for it, see `receive`.
        if self.cycle is not None and not self.cycle.response_complete:
            self.flow.pause_reading()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline:
            self._await_head()

    def handle_websocket_upgrade(self) -> None:
        # Sockets are counted by `webapp.live.connection_limits`.
        self._stop_counting()
        super().handle_websocket_upgrade()

    def _refuse_head(self) -> None:
        self._refuse(431, TOO_LARGE)
        # The parser stops; uvicorn calls `send_400_response`.
        raise httptools.HttpParserError

    def _refuse(self, status: int, sentence: str) -> None:
        self._refused = True
        self._cancel_timer()
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: "
            + b"%d\r\n\r\n%b" % (len(sentence), sentence.encode())
        )
        self.transport.close()

    def _await_head(self) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(self.head_seconds, self._close)

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_counting(self) -> None:
        self._cancel_timer()
        if self._address is not None:
            _connections[self._address] -= 1
            if not _connections[self._address]:
                del _connections[self._address]
            self._address = None
