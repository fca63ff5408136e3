"""A connection to Postgres that can be cut: a unix socket that forwards to the real one."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

SOCKET = ".s.PGSQL.5432"


class Wire:
    """Forwards connections from `near / SOCKET` to `far / SOCKET`, until `cut`."""

    def __init__(self, near: Path, far: Path) -> None:
        self._near, self._far = near / SOCKET, far / SOCKET
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.reconnect()

    def reconnect(self) -> None:
        self._near.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._near))
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def cut(self) -> None:
        """Break every open connection, even in the middle of a message, and refuse new ones."""
        assert self._listener is not None
        self._near.unlink(missing_ok=True)
        with self._lock:
            ends, self._open = [self._listener, *self._open], set()
        for end in ends:
            _shut(end)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return  # it was cut
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(str(self._far))
            except OSError:
                _shut(near)
                continue
            with self._lock:
                self._open |= {near, far}
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=[source, target], daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        _shut(source)
        _shut(target)
        with self._lock:
            self._open -= {source, target}


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
