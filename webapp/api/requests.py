"""Requests, routes, answers and errors that the client APIs have in common."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any

from webapp.access.actors import Actor
from webapp.access.permissions import Action
from webapp.clients.client_batch import ClientBatch

TRACKIO_HEADER = b"x-trackio-write-token"


@dataclass(frozen=True)
class Request:
    """An authenticated request of a client.

    `pairs` are the parameters of its query as they came, `query` the last one of each name.
    """

    actor: Actor
    query: dict[str, str]
    body: bytes
    pairs: Sequence[tuple[str, str]] = ()

    def values(self, name: str) -> list[str]:
        """Return every value of a parameter of the query."""
        return [value for other, value in self.pairs if other == name]


@dataclass(frozen=True)
class LogAnswer:
    """What a request logs, and the answer to send once it is committed."""

    batches: Sequence[ClientBatch]
    answer: Any


@dataclass(frozen=True)
class ReadRoute:
    """A route that queries the database, in a thread; `action` None: open to everybody."""

    work: Callable[[Request], Any]
    action: Action | None = "view"


@dataclass(frozen=True)
class LogRoute:
    """A route that only parses the request; what it logs goes to the writer."""

    work: Callable[[Request], LogAnswer]
    action: Action = "start"


@dataclass(frozen=True)
class Upload:
    """The body of a request on the disk; of one longer than `FileRoute.limit` only its length."""

    file: IO[bytes]
    size: int
    is_whole: bool
    content_type: str = ""


@dataclass(frozen=True)
class FileRoute:
    """A route whose body is a file of any length, taken in a thread.

    `limit` is how much of a body is kept. A longer one is read to its end, so that its client can
    read the answer.
    """

    work: Callable[[Request, Upload], Any]
    limit: Callable[[], int]
    action: Action = "start"


@dataclass(frozen=True)
class FileAnswer:
    """An answer that is a file; it is sent in pieces and then closed."""

    file: IO[bytes]
    size: int


Route = ReadRoute | LogRoute | FileRoute


class ApiError(Exception):
    """An error answer; `code` is MLflow's error code, `retry_after` seconds if a retry may help."""

    def __init__(
        self, status: int, code: str, message: str, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after


def token_of(headers: dict[bytes, bytes]) -> str | None:
    """Return the token: Bearer, the password (else user) of Basic, or Trackio's own header."""
    if TRACKIO_HEADER in headers:
        return headers[TRACKIO_HEADER].decode("latin-1").strip() or None
    kind, _, value = headers.get(b"authorization", b"").decode("latin-1").strip().partition(" ")
    if kind.lower() == "bearer":
        return value.strip() or None
    if kind.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    # Tools without tokens ask for a name and a password: any name, and the token as password.
    return password or user or None


def body_of(answer: Any) -> bytes:
    """Encode an answer as JSON; non-finite numbers have been written as strings before."""
    # Python writes NaN as a bare word, which is no JSON.
    return json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()
