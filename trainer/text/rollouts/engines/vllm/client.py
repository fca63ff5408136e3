"""JSON over HTTP over a unix socket: the part of HTTP that trainer and server need.

A private socket, not a port: the server's routes for new weights let any client run code.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainer.engine.outcome import Failure

# What the server calls the network.
MODEL = "student"
# What follows the last event of a reply.
LAST_EVENT = b"[DONE]"


class ServerGone(Exception):
    """The server does not answer, or reports that it cannot continue; the message says which."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("vllm", timeout=seconds)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def call(path: Path, route: str, body: dict[str, Any] | None, seconds: float) -> Any:
    """Return the server's reply to a POST, or to a GET without a body.

    Raises ServerGone, and Failure if the server refuses the request.
    """
    connection = _Connection(path, seconds)
    try:
        content = _checked(_reply(connection, route, body), route)
    except (OSError, http.client.HTTPException) as error:
        raise _gone(route, error) from error
    finally:
        connection.close()
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError as error:
        raise invalid_reply(route, content) from error


class EventStream:
    """A reply that the server sends piece by piece (server-sent events), while it writes.

    `close` may be called by another thread; the server then stops writing.
    """

    def __init__(self, path: Path, route: str, body: dict[str, Any], seconds: float) -> None:
        self.route, self.body = route, body
        self._connection = _Connection(path, seconds)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._closed = False

    def __iter__(self) -> Iterator[Any]:
        """Yield the JSON value of each event.

        Raises ServerGone if they stop before the last one, also after `close`, and Failure if the
        server refuses the request.
        """
        try:
            with self._lock:
                if self._closed:
                    raise ServerGone(f"{self.route}: the request was closed")
                self._connection.connect()
                # The connection gives its socket away where the reply ends with it.
                self._socket = self._connection.sock
            reply = _reply(self._connection, self.route, self.body)
            if reply.status != 200:
                _checked(reply, self.route)
            for line in reply:
                if line.startswith(b"data:"):
                    data = line[len(b"data:") :].strip()
                    if data == LAST_EVENT:
                        return
                    yield _event(self.route, data)
        except (OSError, http.client.HTTPException) as error:
            raise _gone(self.route, error) from error
        finally:
            self.close()
            self._connection.close()
        raise ServerGone(f"{self.route}: the reply ended before its last event")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._socket is not None:
                # Closing alone would leave a thread waiting that reads from the socket.
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)


def _event(route: str, data: bytes) -> Any:
    try:
        event = json.loads(data)
    except ValueError as error:
        raise invalid_reply(route, data) from error
    # An engine that dies while it writes can only say so in an event.
    if isinstance(event, dict) and "error" in event:
        raise ServerGone(f"{route} reported: {_excerpt(data)}")
    return event


def _reply(
    connection: _Connection, route: str, body: dict[str, Any] | None
) -> http.client.HTTPResponse:
    connection.request(
        "GET" if body is None else "POST",
        route,
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    return connection.getresponse()


def _checked(reply: http.client.HTTPResponse, route: str) -> bytes:
    """The content of a reply, unless its status is an error."""
    content = reply.read()
    # A 5xx status is treated like a dead server, which is restarted; a 4xx status repeats on any
    # server.
    if reply.status >= 500:
        raise ServerGone(f"{route} answered {reply.status}: {_excerpt(content)}")
    if reply.status >= 400:
        raise Failure(
            f"vLLM refused a request ({route} answered {reply.status}: {_excerpt(content)})."
        )
    return content


def _gone(route: str, error: Exception) -> ServerGone:
    return ServerGone(f"{route}: {type(error).__name__}: {error}")


def invalid_reply(route: str, content: object) -> Failure:
    return Failure(
        f"vLLM answered {route} with something else than it should: {str(content)[:200]}",
        "Use the version that `make vllm` installs.",
    )


def _excerpt(content: bytes) -> str:
    return content.decode(errors="replace")[:300]
