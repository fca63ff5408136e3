"""Connections and heads of requests cost little, and none is kept for ever."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.limits.conftest import OF_ANYBODY, Server, started, until

pytestmark = pytest.mark.django_db(transaction=True)

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
MOST = 256


@pytest.fixture(scope="module")
def impatient(
    child_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    protocol = "tests.limits.impatient:ImpatientHttp"
    log = tmp_path_factory.mktemp("impatient") / "log"
    yield from started({**child_environment, "OMP_NUM_THREADS": "1"}, log, "--http", protocol)


@pytest.fixture(scope="module")
def behind_a_proxy(
    child_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    environment = {
        **child_environment,
        "STILLROOM_TRUSTED_PROXIES": "127.0.0.1",
        "STILLROOM_CONNECTIONS": "2",
    }
    yield from started(environment, tmp_path_factory.mktemp("proxied") / "log")


def end_of(connection: socket.socket) -> bytes:
    """Return everything that the server sends until it closes the connection."""
    received = b""
    while chunk := _received(connection):
        received += chunk
    return received


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(
    "beginning",
    [b"", b"GET", HEAD, HEAD + b"\r\n" + b"GET", b"GET /healthz HTTP/1.1\r\nHo"],
    ids=["nothing", "a method", "half a head", "half a second head", "half a name"],
)
def test_half_a_head_is_given_up(impatient: Server, beginning: bytes) -> None:
    with impatient.connect() as connection:
        connection.sendall(beginning)
        # It fails with a timeout if the server keeps the connection.
        end_of(connection)


def test_a_connection_that_is_not_used_again_is_closed(impatient: Server) -> None:
    with impatient.connect() as connection:
        connection.sendall(HEAD + b"\r\n")
        assert end_of(connection).startswith(b"HTTP/1.1 200")


def test_a_body_that_nobody_reads_does_not_keep_its_connection(impatient: Server) -> None:
    with impatient.connect() as connection:
        connection.sendall(
            b"POST /no/such/page/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nxxx"
        )
        assert end_of(connection).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /?" + b"q" * 10**6 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HEAD + b"X: " + b"y" * 10**6 + b"\r\n\r\n",
        HEAD + b"X" * 10**6 + b": y\r\n\r\n",
        HEAD + b"X: y\r\n" * 1000 + b"\r\n",
        b"".join([HEAD, *(b"X-%d: y\r\n" % number for number in range(1000)), b"\r\n"]),
        HEAD + b"Cookie: " + b"a=b; " * 50_000 + b"\r\n\r\n",
    ],
    ids=["query", "value", "name", "same header", "many headers", "cookies"],
)
def test_a_large_head_is_refused(server: Server, head: bytes) -> None:
    before = server.begin_measuring()
    with server.connect() as connection:
        try:
            connection.sendall(head)
        except (BrokenPipeError, ConnectionResetError):
            return
        answer = end_of(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")
    assert server.peak() - before < OF_ANYBODY


def drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"y" * 1000)


def test_a_large_head_in_drops_is_refused(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(HEAD + b"X: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            drip(connection)


def test_requests_ahead_of_their_answers_are_few(server: Server) -> None:
    before = server.begin_measuring()
    with ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(server.connect())
            try:
                connection.sendall((HEAD + b"\r\n") * 4000)
            except (BrokenPipeError, ConnectionResetError):
                continue
        assert server.request("GET", "/healthz")[0] == 200
    assert server.peak() - before < OF_ANYBODY


WASTEFUL = {
    "nothing": b"",
    "headers": HEAD + b"X: y\r\n" * 190,
    "a long header": HEAD + b"X: " + b"y" * 60_000,
    "a query": b"GET /?" + b"q" * 60_000,
    "a body": b"POST /sign-in/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65000\r\n\r\n"
    + b"x" * 64_000,
    "an unwanted body": b"POST /runs/new/ HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 64_000,
}


@pytest.mark.parametrize("kind", WASTEFUL)
def test_one_address_has_few_connections_and_they_cost_little(server: Server, kind: str) -> None:
    before = server.begin_measuring()
    refused = 0
    with ExitStack() as stack:
        for _ in range(MOST + 50):
            connection = stack.enter_context(server.connect())
            try:
                connection.sendall(WASTEFUL[kind])
            except (BrokenPipeError, ConnectionResetError):
                refused += 1
        if kind in ("nothing", "headers"):
            status, text = server.request("GET", "/healthz")
            assert (status, "Too many connections" in text) in ((503, True), (0, False))
        assert server.peak() - before < OF_ANYBODY
    until(lambda: server.request("GET", "/healthz")[0] == 200)


def test_requests_behind_a_trusted_proxy_count_for_their_own_address(
    behind_a_proxy: Server,
) -> None:
    """Two requests of one visitor wait for the rest of their bodies; only they are refused."""
    unfinished = (
        b"POST /sign-in/ HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 10.0.0.1\r\n"
        b"Content-Length: 10\r\n\r\n"
    )
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(behind_a_proxy.connect()).sendall(unfinished)

        def status(address: str) -> int:
            return behind_a_proxy.request("GET", "/healthz", None, {"X-Forwarded-For": address})[0]

        until(lambda: status("10.0.0.1") == 503)
        assert status("10.0.0.2") == 200
    until(lambda: status("10.0.0.1") == 200)
