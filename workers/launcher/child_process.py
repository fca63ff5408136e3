"""A child process of the launcher that is restarted with back-off when it dies."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.launcher.errors import from_os_error, last_line

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
# After running this long, earlier deaths no longer lengthen the wait.
STEADY_SECONDS = 60.0
LOG_BYTES = 10 * 2**20


@dataclass
class ChildProcess:
    """A command in a session of its own, so that Ctrl-C reaches the launcher alone.

    `identity` are keyword arguments for Popen that choose the user. `stop_signal` asks the process
    to exit. `wait` (seconds) comes before the first restart and doubles with each further one. The
    output goes to the file `log`, or with `to_stdout` to the launcher's own output.
    """

    label: str
    command: list[str]
    log: Path
    folder: Path
    environment: Mapping[str, str]
    identity: Mapping[str, Any] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    wait: float = FIRST_WAIT_SECONDS
    to_stdout: bool = False
    process: subprocess.Popen[bytes] | None = None
    _started: float = 0.0
    _deaths: int = 0
    _restart_at: float | None = None

    def start(self) -> subprocess.Popen[bytes]:
        # Only at a start: a running process would go on writing to the renamed file.
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=None if self.to_stdout else stream,
                stderr=None if self.to_stdout else stream,
                cwd=self.folder,
                env=dict(self.environment),
                start_new_session=True,
                **self.identity,
            )
        self._started, self._restart_at = time.monotonic(), None
        return self.process

    def restart_if_dead(self) -> str | None:
        """Start a dead process again once its wait is over; call this periodically.

        Returns a sentence if the process has just died or was started again.
        """
        if self.process is None or self.process.poll() is None:
            return None
        now = time.monotonic()
        if self._restart_at is None:
            return self._schedule_restart(now, self.process.returncode)
        if now < self._restart_at:
            return None
        try:
            self.start()
        except OSError as error:
            self._restart_at = now + LONGEST_WAIT_SECONDS
            return str(from_os_error(error, f"starting {self.label} again"))
        return f"{self.label} was started again."

    def stop(self, seconds: float) -> None:
        """Ask the process to exit, and kill it if it has not after `seconds`."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _schedule_restart(self, now: float, code: int) -> str:
        if now - self._started > STEADY_SECONDS:
            self._deaths = 0
        wait = min(self.wait * 2**self._deaths, LONGEST_WAIT_SECONDS)
        self._restart_at, self._deaths = now + wait, self._deaths + 1
        return (
            f"{self.label} {describe_exit(code)}; starting it again in {wait:g} s. "
            f"Its last line: {last_line(self.log)} (log: {self.log})"
        )


def describe_exit(code: int) -> str:
    """Describe how a process exited; a negative code is the signal that killed it."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
