"""A request's body that waits on the disk until it is read, and is freed while it is read.

Django copies each file of a form from the body into a file of its own. If the body were one file,
both would take up the disk until the request ends.
"""

from __future__ import annotations

import io
import tempfile
from collections import deque
from typing import IO, Any

from django.conf import settings

# Of a body of the greatest length: so much more of it is on the disk than has not been read.
PIECES = 32


class SpooledBody(io.RawIOBase):
    """A body of at most `longest` bytes; it is written first, then read once from its start.

    It is in files on the disk of the artifacts, not in /tmp, which is often small and in memory.
    They have no names, so that none is left behind by a process that is killed.
    """

    def __init__(self, longest: int) -> None:
        self._in_memory: int = settings.FILE_UPLOAD_MAX_MEMORY_SIZE
        self._piece_bytes = max(self._in_memory, longest // PIECES)
        self._pieces: deque[IO[bytes]] = deque()
        self.size = 0

    def append(self, chunk: bytes) -> None:
        if not self._pieces or self._pieces[-1].tell() >= self._piece_bytes:
            piece = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed below
                max_size=self._in_memory, dir=settings.FILE_UPLOAD_TEMP_DIR
            )
            self._pieces.append(piece)
        self._pieces[-1].write(chunk)
        self.size += len(chunk)

    def reader(self) -> io.BufferedReader:
        """Return the body as a stream that cannot go back. Nothing may be appended after this."""
        for piece in self._pieces:
            piece.seek(0)
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._pieces:
            if content := self._pieces[0].read(len(buffer)):
                buffer[: len(content)] = content
                return len(content)
            self._pieces.popleft().close()
        return 0

    def close(self) -> None:
        while self._pieces:
            self._pieces.pop().close()
        super().close()
