"""A cable between a server and Postgres that a test can pull out: a unix socket whose bytes go to
the real one.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

NAME = ".s.PGSQL.5432"


class Cable:
    """While it is pulled out nobody can connect, and every connection that went through it is
    broken.
    """

    def __init__(self, far_end: Path, near_end: Path) -> None:
        self.far_end, self.near_end = far_end, near_end
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.plug_in()

    def plug_in(self) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.near_end))
        listener.listen()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def pull(self) -> None:
        assert self._listener is not None
        self.near_end.unlink()
        for end in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open = []

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(self.far_end))
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_carry, args=(source, target), daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def through_cable(
    environment: Mapping[str, str], folder: Path
) -> Iterator[tuple[Cable, dict[str, str]]]:
    """A cable to the Postgres of `environment`, and an environment whose Postgres is at its near
    end.
    """
    url = urlsplit(environment["DATABASE_URL"])
    host = parse_qs(url.query)["host"][0]
    cable = Cable(Path(host) / NAME, folder / NAME)
    query = url.query.replace(quote(host), quote(str(folder))).replace(host, str(folder))
    try:
        yield cable, {**environment, "DATABASE_URL": url._replace(query=query).geturl()}
    finally:
        if cable.near_end.exists():
            cable.pull()
