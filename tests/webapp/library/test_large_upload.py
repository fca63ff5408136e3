"""A data file that is larger than what a server may take of memory: it is streamed to the disk and
read in the memory of a small one.
"""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.test import Client

from webapp.access.models import User
from webapp.library.models import Artifact, DataSet

ROOT = Path(__file__).resolve().parents[3]
ROWS, PADDING = 54, 7_500_000  # 0.4 GB
BOUNDARY = "between-parts"
MOST_MEMORY = 150 * 2**20  # what the server may need on top of what it needs anyway

pytestmark = pytest.mark.django_db(transaction=True)


def row(number: int) -> bytes:
    return b'{"question": "%d+1?", "answer": "%d", "note": "%s"}\n' % (
        number,
        number + 1,
        b"x" * PADDING,
    )


def body() -> Iterator[bytes]:
    """The multipart form of the file, never whole in memory."""
    yield (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; '
        'filename="large.jsonl"\r\n\r\n'
    ).encode()
    yield from (row(number) for number in range(ROWS))
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


@pytest.fixture
def server(child_environment: dict[str, str]) -> Iterator[tuple[int, int]]:
    """(port, process id) of a running server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "webapp.asgi:application",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    process = subprocess.Popen(command, cwd=ROOT, env=child_environment)
    try:
        wait_for(port, process)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(120)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "the server did not start"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server did not open its port")


def peak_memory(pid: int) -> int:
    """Most bytes that the process ever held."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match
    return 1024 * int(match[1])


def request(
    port: int,
    method: str,
    path: str,
    client: Client,
    content: Iterator[bytes] | bytes = b"",
    **headers: str,
) -> http.client.HTTPResponse:
    """Send a request as the client's person, with the client's cookies."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=240)
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    token = client.cookies["csrftoken"].value
    sent_headers = {
        "Cookie": cookies,
        "X-CSRFToken": token,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    connection.request(method, path, body=content, headers=sent_headers)
    return connection.getresponse()


def test_a_large_file_is_streamed(server: tuple[int, int], alice: User) -> None:
    port, pid = server
    client = Client()
    client.force_login(alice)
    client.get("/data/new/")
    request(port, "GET", "/data/new/", client).read()
    before = peak_memory(pid)
    length = sum(map(len, body()))
    assert length > 2 * MOST_MEMORY

    form = f"multipart/form-data; boundary={BOUNDARY}"
    answer = request(
        port, "POST", "/data/new/", client, body(), Content_Type=form, Content_Length=str(length)
    )
    assert answer.status == 302, answer.read()[-2000:]
    artifact = Artifact.objects.get()
    assert artifact.size > 2 * MOST_MEMORY

    mapping = {"file": artifact.sha256, "filename": "large.jsonl", "name": "large"}
    mapping |= {
        "data.train.columns.question": "question",
        "data.train.columns.answer": "answer",
        "data.verifier.kind": "numeric",
    }
    response = request(
        port,
        "POST",
        "/data/new/",
        client,
        urlencode(mapping).encode(),
        Content_Type="application/x-www-form-urlencoded",
    )
    assert response.status == 302, response.read()[-2000:]
    address = str(response.getheader("Location"))
    while request(port, "GET", address, client).status == 200:
        time.sleep(0.2)
    assert DataSet.objects.get().problem_count == ROWS
    assert peak_memory(pid) - before < MOST_MEMORY
    assert not any(Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir())
