"""Starting, finding again and signalling the training process of one attempt.

A pid alone may belong to another process by now; together with its start time it is unique until
the host restarts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from workers.attempt.shim import process_started
from workers.machine import host

REPOSITORY = Path(__file__).resolve().parents[2]
OUTPUT_TAIL_BYTES = 16_384


@dataclass(frozen=True)
class TrainerProcess:
    """The training process that belongs to an attempt's folder, alive or not."""

    folder: Path

    def start(self, arguments: list[str], exported: Mapping[str, str] | None = None) -> None:
        """Start `python -m trainer ARGUMENTS` under a shim in a session of its own, and wait until
        it is known.

        `exported` are environment variables beyond this process's own.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        shim = [
            sys.executable,
            "-m",
            "workers.attempt.shim",
            str(self.folder),
            *host.trainer_command(),
            *arguments,
        ]
        environment = _environment() | dict(exported or {})
        watcher = subprocess.Popen(
            shim, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        while not (self.folder / "process.json").exists() and watcher.poll() is None:
            time.sleep(0.01)

    def started(self) -> bool:
        return (self.folder / "process.json").exists()

    def pid(self) -> int | None:
        """The trainer's pid, if that process is alive."""
        return self._living("trainer")

    def watched(self) -> bool:
        """Whether the shim lives: it will write the report soon after the trainer's end."""
        return self._living("shim") is not None

    def exit(self) -> dict[str, Any] | None:
        """The shim's report, once the trainer has ended."""
        return _json(self.folder / "exit.json")

    def ended(self) -> bool:
        """Whether the trainer is gone and its report is written, or nobody is left to write one."""
        return self.exit() is not None or (self.pid() is None and not self.watched())

    def ask_to_stop(self) -> None:
        """SIGTERM: the trainer saves at the next step boundary and leaves. To ask again, as a later
        supervisor does, changes nothing.
        """
        if pid := self.pid():
            _signal(os.kill, pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the trainer and all that it started, even if it is gone itself."""
        if pid := self.pid():
            _signal(os.killpg, pid, signal.SIGKILL)
        for process in self._left_behind():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def output(self) -> str:
        """The end of what the trainer printed."""
        try:
            with (self.folder / "stdout.log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - OUTPUT_TAIL_BYTES))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _left_behind(self) -> list[psutil.Process]:
        """What the trainer started and has outlived it. Its group alone would not do: a pid may
        name another group by now.
        """
        group = (_json(self.folder / "process.json") or {"trainer": {"pid": 0}})["trainer"]["pid"]
        run = str(self.folder.parent.parent)
        found = [
            one
            for one in psutil.process_iter(["cmdline"])
            if any(run in part for part in one.info["cmdline"] or [])
        ]
        return [one for one in found if _group_of(one.pid) == group]

    def _living(self, who: str) -> int | None:
        written = _json(self.folder / "process.json")
        if written is None or process_started(written[who]["pid"]) != written[who]["started"]:
            return None
        pid: int = written[who]["pid"]
        return pid if written[who]["started"] is not None else None


def _environment() -> dict[str, str]:
    """The trainer's: nothing of the server's secrets."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in {"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
    }
    return kept | {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}


def _json(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return content
    except (FileNotFoundError, ValueError):
        return None


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _signal(send: Any, target: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        send(target, number)
