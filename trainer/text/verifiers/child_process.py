"""The child process from its parent's side: write and read lines with a time limit, and kill.

It is a new process, not a fork, because the parent may hold a GPU.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trainer
from trainer.text.verifiers.records import VerifierError

# Importing SymPy on a busy machine takes a while.
START_SECONDS = 120.0
# Seconds in which more lines accumulate, so that the processes do not alternate line by line.
PAUSE = 0.001


class ChildLost(Exception):
    """The child died or did not answer in time."""


class VerifierChild:
    """A running child. Raises VerifierError if it does not start."""

    def __init__(
        self, definition: str, seconds: float, start_seconds: float = START_SECONDS
    ) -> None:
        # A file and not a pipe: nobody reads it while the child runs, and a full pipe would block.
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `kill`
        # `-P` keeps the current folder off the path, where any file may hide a module of ours; so
        # the path must name the folder of this package.
        home = str(Path(trainer.__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")]))
        module = "trainer.text.verifiers.judge_process"
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, definition, str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.to_child, self.from_child = self.process.stdin.fileno(), self.process.stdout.fileno()
        # A child that hangs does not read, and a blocking write would then wait without a limit.
        os.set_blocking(self.to_child, False)
        self.unread = b""
        self._await_start(start_seconds)

    def write(self, line: bytes, seconds: float) -> None:
        """Raises ChildLost if the child does not take the line."""
        deadline = time.monotonic() + seconds
        remaining = memoryview(line)
        while remaining:
            _, writable, _ = select.select(
                [], [self.to_child], [], max(0.0, deadline - time.monotonic())
            )
            if not writable:
                raise ChildLost
            try:
                remaining = remaining[os.write(self.to_child, remaining) :]
            except BlockingIOError:
                continue
            except OSError:
                raise ChildLost from None

    def read(self, seconds: float) -> bytes:
        """The next line. Raises ChildLost if there is none within the time."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.unread:
            readable, _, _ = select.select(
                [self.from_child], [], [], max(0.0, deadline - time.monotonic())
            )
            time.sleep(PAUSE)
            received = os.read(self.from_child, 65536) if readable else b""
            if not received:
                raise ChildLost
            self.unread += received
        line, _, self.unread = self.unread.partition(b"\n")
        return line

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            assert stream is not None
            stream.close()

    def _await_start(self, seconds: float) -> None:
        try:
            self.read(seconds)
        except ChildLost:
            self.process.kill()
            self.process.wait()
            self.errors.seek(0)
            last = self.errors.read().decode(errors="replace").strip().splitlines()[-1:] or [
                "it printed nothing"
            ]
            self.kill()
            raise VerifierError(f"the verifier's process does not start: {last[0]}") from None
