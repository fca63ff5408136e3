"""The training process of one attempt: start it, find it again, signal it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from webapp.base.environment import secret_variable
from workers.machine import host
from workers.process_identity import is_alive

REPOSITORY = Path(__file__).resolve().parents[2]
OUTPUT_TAIL_BYTES = 16_384
# What a trainer deletes or renames itself, unless it is killed: a checkpoint or a file of rollouts
# that it was writing or removing, and the disk space for its last events.
SERVER_SECRETS = {
    "SECRET_KEY",
    "DATABASE_URL",
    "REDIS_URL",
    "STILLROOM_METRICS_TOKEN",
    "DJANGO_SETTINGS_MODULE",
}
LEFTOVERS = ("checkpoints/.writing-*", "side/.writing-*", "events/reserve")


@dataclass(frozen=True)
class TrainerProcess:
    """The training process of an attempt's folder, alive or not."""

    folder: Path

    def start(self, arguments: list[str], variables: Mapping[str, str] | None = None) -> None:
        """Start the trainer under an exit recorder in a session of its own; wait until it runs.

        It runs once there is a `process.json`. `variables` are environment variables beyond this
        process's own, of which the trainer gets no secrets.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "workers.attempt.exit_recorder",
            str(self.folder),
            *host.trainer_command(),
            *arguments,
        ]
        environment = _environment() | self._temporary_folder() | dict(variables or {})
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        # The recorder exits without the file if the command cannot be started, e.g. a wrong
        # STILLROOM_TRAINER. The attempt has then `ended` without a report.
        while not self.started() and process.poll() is None:
            time.sleep(0.01)

    def started(self) -> bool:
        return (self.folder / "process.json").exists()

    def pid(self) -> int | None:
        """Return the trainer's pid if that process is alive."""
        return self._living_pid("trainer")

    def exit(self) -> dict[str, Any] | None:
        """Return the exit recorder's report; None until the trainer has ended."""
        return _json(self.folder / "exit.json")

    def ended(self) -> bool:
        """Return whether the trainer has exited and its report is written, or never will be.

        While the exit recorder lives, it writes the report soon after the trainer's exit.
        """
        if self.exit() is not None:
            return True
        # "shim" is the name of the recorder in `process.json`, also of trainers that run through an
        # upgrade.
        return self.pid() is None and self._living_pid("shim") is None

    def ask_to_stop(self) -> None:
        """Send SIGTERM: the trainer writes a checkpoint after the current step and exits.

        Safe to repeat, as a later supervisor does.
        """
        if pid := self.pid():
            _signal(os.kill, pid, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the trainer and all that it started, even if it has exited itself."""
        if pid := self.pid():
            _signal(os.killpg, pid, signal.SIGKILL)
        for process in self._descendants():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def remove_leftovers(self) -> None:
        """Delete what a killed trainer has left on this host; nothing while it runs.

        A trainer that ends by itself leaves nothing, so that this is safe after any end.
        """
        if not self.ended():
            return
        shutil.rmtree(self._temporary, ignore_errors=True)
        for pattern in LEFTOVERS:
            for path in self.folder.glob(pattern):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    @property
    def _temporary(self) -> Path:
        """The folder of this trainer's temporary files, which its supervisors can name too.

        It is not in the attempt's folder: the path of a unix socket may have 107 bytes.
        """
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"stillroom-{os.geteuid()}-{digest}"

    def _temporary_folder(self) -> dict[str, str]:
        """Make the folder; return the variable that names it, or {} if it is somebody else's."""
        try:
            self._temporary.mkdir(mode=0o700, exist_ok=True)
            status = self._temporary.lstat()
        except OSError:
            return {}
        is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
        return {"TMPDIR": str(self._temporary)} if is_ours else {}

    def output(self) -> str:
        """Return the last OUTPUT_TAIL_BYTES of what the trainer printed."""
        try:
            with (self.folder / "stdout.log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - OUTPUT_TAIL_BYTES))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _descendants(self) -> list[psutil.Process]:
        """Return the processes that the trainer started and that still run.

        Group and command line must both match: another group may have the same number by now.
        """
        group = (_json(self.folder / "process.json") or {"trainer": {"pid": 0}})["trainer"]["pid"]
        run_folder = str(self.folder.parent.parent)
        processes = [
            process
            for process in psutil.process_iter(["cmdline"])
            if any(run_folder in argument for argument in process.info["cmdline"] or [])
        ]
        return [process for process in processes if _group_of(process.pid) == group]

    def _living_pid(self, role: str) -> int | None:
        """Return the pid of the "trainer" or the "shim" if that process is alive."""
        ids = _json(self.folder / "process.json")
        return int(ids[role]["pid"]) if ids and is_alive(ids[role]) else None


def secret_variables(uri: str | None) -> dict[str, str]:
    """Return the variable of the secret that a definition names, if it names one of this host."""
    name = secret_variable((uri or "").removeprefix("secret:"))
    return {name: os.environ[name]} if uri and name in os.environ else {}


def _environment() -> dict[str, str]:
    """Return our environment for the trainer, without the secrets of server and definitions."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if key not in SERVER_SECRETS and not key.startswith(secret_variable(""))
    }
    # Unbuffered, so that the last lines of a killed trainer are in its log.
    return inherited | {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}


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
