"""Run a server that must not outlive its owner: `python guard.py COMMAND…`. Standard library only.

Its standard input is a pipe that is never written to. The pipe ends when its other end is closed,
on purpose or because the owner died. Then the server is terminated, and after a grace period it and
all its children are killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

# Seconds for the server to free its shared memory.
STOP_SECONDS = 10.0


def main(command: list[str]) -> None:
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_exit_with_server, args=(server,), daemon=True).start()
    # Returns when the pipe's other end is closed, which the kernel does even after a `kill -9`.
    sys.stdin.buffer.read()
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(STOP_SECONDS)
    # The server's own workers survive it otherwise, and keep its memory. Group 0 is this process's
    # own, so the guard ends with them.
    os.killpg(0, signal.SIGKILL)


def _exit_with_server(server: subprocess.Popen[bytes]) -> None:
    server.wait()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
