"""A child process that is kept alive: in a session of its own (Ctrl-C reaches the launcher alone),
restarted with back-off when it dies.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.launcher.refusal import last_line, of_os_error

FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
STEADY_SECONDS = 60.0  # after running so long a child has no history of failures
LOG_BYTES = 10 * 2**20


@dataclass
class Child:
    """`identity` are keyword arguments for Popen that choose the user; `ending` is the signal that
    asks it to finish; `wait` (seconds) comes before the first restart and doubles with each further
    one. What it says goes to `log`, or, if it speaks `aloud`, to the launcher's own output.
    """

    label: str
    command: list[str]
    log: Path
    folder: Path
    environment: Mapping[str, str]
    identity: Mapping[str, Any] = field(default_factory=dict)
    ending: signal.Signals = signal.SIGTERM
    wait: float = FIRST_WAIT
    aloud: bool = False
    process: subprocess.Popen[bytes] | None = None
    _started: float = 0.0
    _deaths: int = 0
    _due: float | None = None

    def start(self) -> subprocess.Popen[bytes]:
        _rotate(self.log)
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=None if self.aloud else stream,
                stderr=None if self.aloud else stream,
                cwd=self.folder,
                env=dict(self.environment),
                start_new_session=True,
                **self.identity,
            )
        self._started, self._due = time.monotonic(), None
        return self.process

    def tend(self) -> str | None:
        """Called again and again: start it anew once its wait is over. Returns a sentence when it
        has just died or come back.
        """
        if self.process is None or self.process.poll() is None:
            return None
        now = time.monotonic()
        if self._due is None:
            return self._mourn(now)
        if now < self._due:
            return None
        try:
            self.start()
        except OSError as error:
            self._due = now + LONGEST_WAIT
            return str(of_os_error(error, f"starting {self.label} again"))
        return f"{self.label} was started again."

    def stop(self, seconds: float) -> None:
        """Ask it to end, and make it end when it has not after `seconds`."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.ending)
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _mourn(self, now: float) -> str:
        self._deaths = 0 if now - self._started > STEADY_SECONDS else self._deaths
        wait = min(self.wait * 2**self._deaths, LONGEST_WAIT)
        self._due, self._deaths = now + wait, self._deaths + 1
        assert self.process is not None
        how = ending(self.process.returncode)
        return f"{self.label} {how}; starting it again in {wait:g} s. Its last line: {last_line(self.log)} (log: {self.log})"


def ending(code: int) -> str:
    """How a process ended, in words; a negative code is the signal that ended it."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
