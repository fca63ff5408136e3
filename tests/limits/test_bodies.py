"""Bodies cost nothing before the head of their request has been checked."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.limits.conftest import MIB, OF_A_MEMBER, OF_ANYBODY, Server, cookies_of, until
from webapp.access import api_tokens
from webapp.access.models import Scope, Team, User
from webapp.api.app import MAX_BODY

pytestmark = pytest.mark.django_db(transaction=True)

FORM = "application/x-www-form-urlencoded"
SENT = 200 * MIB


def pieces(size: int = SENT) -> Iterator[bytes]:
    for _ in range(size // MIB):
        yield b"x" * MIB


def streamed(server: Server, head: str, size: int = SENT) -> tuple[int, int, bytes]:
    """Send a body of zeros as far as the server takes it.

    Return the most memory and spool that it cost meanwhile, and the beginning of the answer.
    """
    before, spooled_before = server.begin_measuring(), server.spooled()
    spooled, answer = 0, b""
    with server.connect() as connection:
        connection.sendall(head.encode())
        chunked = "chunked" in head
        try:
            for _ in range(size // MIB):
                connection.sendall(b"100000\r\n" + b"0" * MIB + b"\r\n" if chunked else b"0" * MIB)
                spooled = max(spooled, server.spooled() - spooled_before)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            connection.settimeout(10)
            answer = connection.recv(4096)
        except (ConnectionResetError, TimeoutError):
            pass
    return server.peak() - before, spooled, answer


ANONYMOUS_ADDRESSES = [
    "/",
    "/no/such/page/",
    "/sign-in/",
    "/data/new/",
    "/runs/new/",
    "/static/no.css",
    "/version",
    "/api/bulk_log",
    "/api/2.0/mlflow/runs/log-batch",
    "/api/no-such-route",
]


@pytest.mark.parametrize("path", ANONYMOUS_ADDRESSES)
@pytest.mark.parametrize("framing", [f"Content-Length: {SENT}", "Transfer-Encoding: chunked"])
def test_nobody_can_fill_memory_or_disk(server: Server, path: str, framing: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n{framing}\r\n\r\n"
    memory, disk, _ = streamed(server, head)
    assert memory < OF_ANYBODY
    assert disk < MIB


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_no_method_takes_a_body_of_a_stranger(server: Server, method: str) -> None:
    head = f"{method} /runs/new/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: {SENT}\r\n\r\n"
    memory, disk, _ = streamed(server, head)
    assert memory < OF_ANYBODY
    assert disk < MIB


def test_a_client_that_asks_first_is_not_told_to_continue(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(
            b"POST /api/bulk_log HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert connection.recv(12) == b"HTTP/1.1 401"


def test_a_form_of_a_member_has_a_limit_and_an_upload_a_higher_one(
    server: Server, erin: User
) -> None:
    headers = "".join(f"{name}: {value}\r\n" for name, value in cookies_of(erin, server).items())
    for path, limit in (("/runs/new/check/", 8 * MIB), ("/data/new/", SENT)):
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: {FORM}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        )
        memory, disk, answer = streamed(server, head)
        assert memory < OF_A_MEMBER
        assert disk <= limit + MIB
        assert answer == b"" or answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))


def test_a_viewer_uploads_nothing(server: Server, bob: User) -> None:
    status, text = server.request(
        "POST",
        "/data/new/",
        pieces(),
        {**cookies_of(bob, server), "Content-Length": str(SENT), "Content-Type": FORM},
    )
    assert (status, "your role in this team" in text) in ((413, True), (0, False))


def test_a_body_in_chunks_is_held_to_the_limit_of_a_form(server: Server, erin: User) -> None:
    """Django's own limit looks at the announced length, which such a body does not have."""
    before = server.begin_measuring()
    headers = {**cookies_of(erin, server), "Content-Type": FORM}
    status, text = server.request("POST", "/data/new/", pieces(), headers)
    assert (status, "more than 4 MiB of text" in text) == (400, True)
    assert server.peak() - before < OF_A_MEMBER


def test_a_compressed_body_is_not_expanded(server: Server, erin: User, still: Team) -> None:
    token = api_tokens.make(still, "cluster", Scope.LOG, erin)
    headers = {"Authorization": f"Bearer {token}", "Content-Encoding": "gzip"}
    status, text = server.request("POST", "/api/bulk_log", b"\x1f\x8b" + b"0" * 1000, headers)
    assert (status, "uncompressed" in text) == (415, True)
    page = {**cookies_of(erin, server), "Content-Encoding": "gzip", "Content-Type": FORM}
    assert server.request("POST", "/runs/new/check/", b"\x1f\x8b" + b"0" * 1000, page)[0] < 500


def repeated(item: str) -> str:
    """Return a list in JSON that is nearly as long as a body may be."""
    return "[" + f"{item}," * ((MAX_BODY - 1000) // (len(item) + 1)) + "0]"


# Text whose values take many times as much memory.
HOLLOW = {
    "empty lists": repeated("[]"),
    "empty objects": repeated("{}"),
    "small objects": repeated('{"":0}'),
    "names": "{" + ",".join(f'"{number}":0' for number in range(300_000)) + "}",
    "numbers": repeated("0.5"),
    "deep": "[" * (MAX_BODY // 2 - 500) + "]" * (MAX_BODY // 2 - 500),
}


@pytest.mark.parametrize("kind", HOLLOW)
@pytest.mark.parametrize("place", ["metrics", "config", "logs", "unknown"])
def test_json_of_a_program_does_not_expand_beyond_the_bound(
    server: Server, erin: User, still: Team, kind: str, place: str
) -> None:
    token = api_tokens.make(still, "cluster", Scope.LOG, erin)
    entry = {"project": "p", "run": "r", "metrics": {"a": 1}, place: {"x": "HERE"}}
    logs = '"HERE"' if place == "logs" else json.dumps([entry])
    text = json.dumps({"kwargs": {"logs": "LOGS"}}).replace('"LOGS"', logs)
    text = text.replace('"HERE"', HOLLOW[kind])
    assert len(text) < MAX_BODY
    before = server.begin_measuring()
    status, _ = server.request("POST", "/api/bulk_log", text, {"Authorization": f"Bearer {token}"})
    assert status in (200, 400, 413)
    assert server.peak() - before < OF_A_MEMBER


def test_thousands_of_parts_are_refused(server: Server, erin: User) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    body = part * (4 * MIB // len(part) - 1) + b"--x--\r\n"
    headers = {**cookies_of(erin, server), "Content-Type": "multipart/form-data; boundary=x"}
    before = server.begin_measuring()
    status, text = server.request("POST", "/data/new/", body, headers)
    assert (status, "more than 2,000 values" in text) == (400, True)
    assert server.peak() - before < OF_A_MEMBER


def test_a_client_that_is_gone_leaves_nothing(server: Server, erin: User) -> None:
    headers = "".join(f"{name}: {value}\r\n" for name, value in cookies_of(erin, server).items())
    before = server.spooled()
    with server.connect() as connection:
        connection.sendall(
            f"POST /data/new/ HTTP/1.1\r\nHost: localhost\r\n{headers}"
            f"Content-Length: {SENT}\r\n\r\n".encode()
        )
        for _ in range(20):
            connection.sendall(b"0" * MIB)
        connection.shutdown(socket.SHUT_RDWR)
    until(lambda: server.spooled() <= before + MIB)
