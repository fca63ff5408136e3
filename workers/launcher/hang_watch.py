"""Kills a child that runs and does nothing: suspended, in a deadlock or in an endless loop.

The launcher then starts it again with its usual back-off, as if it had died. Only that process is
killed: supervisors and trainers are in sessions of their own, and the new worker finds them. While
Postgres or Redis do not answer, a child that waits for them is as it should be.
"""

from __future__ import annotations

import http.client
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from workers import heartbeat
from workers.heartbeat import PERIOD_SECONDS
from workers.launcher.child_process import ChildProcess

# A child that starts on a busy machine may be silent for this long.
START_SECONDS = 180.0


@dataclass
class WatchedChild:
    """A child, and a function that says whether it has given a sign of life since the last call.

    `silent` are the seconds without one, counted only while this process was watching and the
    services answered: after a pause of the whole machine nobody has been silent.
    """

    child: ChildProcess
    gives_sign: Callable[[], bool]
    silent: float = 0.0
    has_started: bool = False
    process: subprocess.Popen[bytes] | None = None


class HangWatch:
    """Watches children in a thread of its own, because a hung web keeps a question waiting.

    `services_answer` says whether Postgres and Redis do; `files` are the heartbeats of the children
    and of this launcher, which the health check of a container reads.
    """

    def __init__(
        self,
        hung_seconds: float,
        services_answer: Callable[[], bool],
        say: Callable[[str], None],
        own_file: Path,
    ) -> None:
        self.hung_seconds, self._services_answer, self._say = hung_seconds, services_answer, say
        self._own_file = own_file
        self._watched: list[WatchedChild] = []
        self._looked_at = time.monotonic()
        self._period = min(PERIOD_SECONDS, hung_seconds / 6)

    def add(self, child: ChildProcess, gives_sign: Callable[[], bool]) -> None:
        self._watched.append(WatchedChild(child, gives_sign))

    def start(self, stopping: threading.Event) -> None:
        """Watch until `stopping` is set."""
        threading.Thread(
            target=self._watch, args=(stopping,), name="hang-watch", daemon=True
        ).start()

    def _watch(self, stopping: threading.Event) -> None:
        while not stopping.wait(self._period):
            # On a full disk the file may be missing; the watch goes on without it.
            with suppress(OSError):
                heartbeat.beat_for(self._own_file)
            self.look()

    def look(self) -> None:
        """Ask all children for a sign of life and kill those that have given none for too long."""
        now = time.monotonic()
        # A longer time means that this process was suspended, and perhaps its children with it.
        elapsed, self._looked_at = min(now - self._looked_at, self.hung_seconds / 2), now
        silent = [watched for watched in self._watched if not self._has_sign(watched)]
        for watched in silent:
            watched.silent += elapsed
        # Asked only if it matters. After an outage a child gets the whole time again.
        if any(watched.silent > self.hung_seconds / 2 for watched in silent) and (
            not self._services_answer()
        ):
            for watched in silent:
                watched.silent = 0.0
        for watched in silent:
            limit = self.hung_seconds if watched.has_started else START_SECONDS
            process = watched.child.process
            if watched.silent >= limit and process is not None and process.poll() is None:
                self._say(f"{watched.child.label} has done nothing for {watched.silent:.0f} s.")
                process.kill()
                watched.silent = 0.0

    def _has_sign(self, watched: WatchedChild) -> bool:
        if watched.child.process is not watched.process:
            watched.process, watched.silent, watched.has_started = watched.child.process, 0.0, False
            # What the process before has left is no sign of this one.
            watched.gives_sign()
        elif watched.gives_sign():
            watched.silent, watched.has_started = 0.0, True
            return True
        return False


def heartbeat_in(file: Path) -> Callable[[], bool]:
    """Return a function that says whether the heartbeat in `file` has changed since its last call.

    A heartbeat in the future announces that the next one comes later, and counts until then.
    """
    seen = heartbeat.last(file)

    def gives_sign() -> bool:
        nonlocal seen
        previous, seen = seen, heartbeat.last(file)
        return seen != previous or seen > time.monotonic()

    return gives_sign


def answers_at(address: str, host: str, seconds: float) -> Callable[[], bool]:
    """Return a function that asks the web for `healthz`; any reaction within `seconds` is a sign.

    `host` is a name under which the web answers; it would log every question under another one.
    Also a refusal or a closed connection: somebody in the process must have closed it. A suspended
    process accepts connections, because the kernel does, and never answers.
    """
    url = urlsplit(address)

    def gives_sign() -> bool:
        connection = http.client.HTTPConnection(url.netloc, timeout=seconds)
        try:
            connection.request("GET", f"{url.path}healthz", headers={"Host": host})
            connection.getresponse().read()
        except (TimeoutError, ConnectionRefusedError):
            return False
        except (OSError, http.client.HTTPException):
            return True
        finally:
            connection.close()
        return True

    return gives_sign
