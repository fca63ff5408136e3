"""A real web server that is measured while hostile requests arrive: its memory and its spool."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from django.conf import settings
from django.test import Client

from tests.clients.server import ROOT, wait_for
from tests.webapp.conftest import _own_store, alice, bob, charlie, erin, still  # noqa: F401
from workers.launcher.web_server import uvicorn_arguments

MIB = 2**20
# The bounds of docs/faults.md.
OF_ANYBODY, OF_A_MEMBER = 50 * MIB, 300 * MIB


@dataclass(frozen=True)
class Server:
    """A running web server on this machine."""

    address: str
    process: psutil.Process

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    def connect(self, seconds: float = 60.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def begin_measuring(self) -> int:
        """Forget the peak of the memory; return the bytes in use now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self._status("VmRSS")

    def peak(self) -> int:
        """Return the most bytes in use since `begin_measuring`."""
        return self._status("VmHWM")

    def spooled(self) -> int:
        """Return the bytes of all files that the process holds open and of those in its folders."""
        files = (file for file in uploads().rglob("*") if not file.is_symlink())
        named = sum(file.stat().st_size for file in files if file.is_file())
        descriptors = Path(f"/proc/{self.process.pid}/fd")
        nameless = 0
        for descriptor in descriptors.iterdir():
            # The process may have closed it meanwhile.
            with suppress(FileNotFoundError):
                if str(descriptor.readlink()).endswith(" (deleted)"):
                    nameless += descriptor.stat().st_size
        return named + nameless

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Return status and text of an answer; 0 if the connection was closed without one."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)) as connection:
            # The answer may have come before the whole body was sent.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body=body, headers=headers or {})
            try:
                response = connection.getresponse()
                return response.status, response.read().decode(errors="replace")
            except (http.client.HTTPException, ConnectionResetError):
                return 0, ""

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(rf"{name}:\s+(\d+) kB", text)
        assert match is not None
        return 1024 * int(match[1])


@contextmanager
def tree_peak(server: Server) -> Iterator[list[int]]:
    """Measure server and child processes together every few milliseconds.

    The list has the most bytes that they had in use beyond those of the server before.
    """
    before, peak, ended = server.begin_measuring(), [0], threading.Event()

    def measure() -> None:
        while not ended.wait(0.005):
            total = server.process.memory_info().rss
            for child in server.process.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    total += child.memory_info().rss
            peak[0] = max(peak[0], total - before)

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def uploads() -> Path:
    return Path(settings.FILE_UPLOAD_TEMP_DIR)


def started(environment: dict[str, str], log: Path, *options: str) -> Iterator[Server]:
    """Start a server; stop it at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *uvicorn_arguments("127.0.0.1", port), *options]
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        wait_for(f"http://127.0.0.1:{port}/version", server, log)
        yield Server(f"http://127.0.0.1:{port}", psutil.Process(server.pid))
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def server(
    child_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    environment = {**child_environment, "OMP_NUM_THREADS": "1"}
    yield from started(environment, tmp_path_factory.mktemp("server") / "log")


def cookies_of(user: Any, server: Server) -> dict[str, str]:
    """Return the headers of a browser in which `user` has signed in."""
    client = Client()
    client.force_login(user)
    client.get("/sign-in/")
    client.get("/data/new/")
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    return {"Cookie": cookies, "X-CSRFToken": client.cookies["csrftoken"].value}


def until(condition: Any, seconds: float = 60.0) -> None:
    """Wait until `condition()` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this did not happen in time"
        time.sleep(0.05)
