"""An import of runs takes its length of the disk once, and is read outside the server's process."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.limits.conftest import MIB, OF_A_MEMBER, Server, cookies_of, tree_peak, until, uploads
from webapp.access.models import User
from webapp.clients.importers.uploaded_files import MAX_BYTES
from webapp.clients.models import RunImport

pytestmark = pytest.mark.django_db(transaction=True)
SIZE = 32 * MIB


@contextmanager
def most_spooled(server: Server) -> Iterator[list[int]]:
    before, peak, ended = server.spooled(), [0], threading.Event()

    def measure() -> None:
        while not ended.wait(0.005):
            # A file may be gone while it is counted.
            with suppress(FileNotFoundError):
                peak[0] = max(peak[0], server.spooled() - before)

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def form(name: str, content: bytes) -> bytes:
    fields = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in (("format", "wandb"), ("project", "p"))
    )
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return (fields + head).encode() + content + b"\r\n--x--\r\n"


def zipped(size: int) -> bytes:
    """A zip of a hundred kilobytes that unpacks to a table of `size` bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", b"_step,loss\n" + b"0,1\n" * (size // 4))
    return stream.getvalue()


@pytest.mark.parametrize("name", ["plain.csv", "bomb.zip"])
def test_an_upload_exists_once_on_the_disk(server: Server, erin: User, name: str) -> None:
    content = b"\0" * SIZE if name == "plain.csv" else zipped(MAX_BYTES + MIB)
    headers = {**cookies_of(erin, server), "Content-Type": "multipart/form-data; boundary=x"}
    with most_spooled(server) as disk, tree_peak(server) as memory:
        status, _ = server.request("POST", "/runs/bring/", form(name, content), headers)
        assert status == 302
        until(lambda: not RunImport.objects.filter(ended_at=None).exists())
    assert disk[0] < len(content) * 1.1 + MIB
    assert memory[0] < OF_A_MEMBER
    row = RunImport.objects.get()
    assert ("is too large" if name == "bomb.zip" else "longer than 4 MiB") in row.problem
    until(lambda: not list(uploads().glob("import-*")))


def test_an_import_may_be_less_long_than_other_uploads(server: Server, erin: User) -> None:
    headers = {**cookies_of(erin, server), "Content-Length": str(MAX_BYTES + 1)}
    assert server.request("POST", "/runs/bring/", b"", headers)[0] == 413
