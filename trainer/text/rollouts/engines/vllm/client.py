"""JSON over HTTP over a unix socket: the part of HTTP that trainer and server need.

A private socket, not a port: the server's routes for new weights let any client run code.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from trainer.engine.outcome import Failure

# What the server calls the network.
MODEL = "student"


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
        connection.request(
            "GET" if body is None else "POST",
            route,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        reply = connection.getresponse()
        content = reply.read()
    except (OSError, http.client.HTTPException) as error:
        raise ServerGone(f"{route}: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    # A 5xx status is treated like a dead server, which is restarted; a 4xx status repeats on any
    # server.
    if reply.status >= 500:
        raise ServerGone(f"{route} answered {reply.status}: {_excerpt(content)}")
    if reply.status >= 400:
        raise Failure(
            f"vLLM refused a request ({route} answered {reply.status}: {_excerpt(content)})."
        )
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError as error:
        raise invalid_reply(route, content) from error


def invalid_reply(route: str, content: object) -> Failure:
    return Failure(
        f"vLLM answered {route} with something else than it should: {str(content)[:200]}",
        "Use the version that `make vllm` installs.",
    )


def _excerpt(content: bytes) -> str:
    return content.decode(errors="replace")[:300]
