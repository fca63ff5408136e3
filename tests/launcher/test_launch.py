"""`make run`, whole: a fresh clone with services of its own, from the first sentence to the
last.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

import psutil
import pytest

from tests.launcher.conftest import modes

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("trainer", "webapp", "workers", "templates", "static")
OURS = {"STILLROOM_ENV_FILE", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "STILLROOM_STATE"}
PATIENCE = 120
STARTED = "Ctrl-C checkpoints the runs"


class Clone:
    """A fresh clone in a folder of its own, with a port of its own, and the launcher last started
    in it.
    """

    def __init__(self) -> None:
        self.outside = Path(mkdtemp(prefix="stillroom-clone-", dir="/tmp"))
        self.outside.chmod(0o755)
        self.folder = self.outside / "clone"
        self.folder.mkdir()
        for name in COPIED:
            shutil.copytree(ROOT / name, self.folder / name)
        shutil.copy(ROOT / "manage.py", self.folder)
        (self.folder / "node_modules").symlink_to(ROOT / "node_modules")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.modes_at_first = modes(self.folder)
        self.console = self.outside / "console"
        self.launcher: subprocess.Popen[bytes] | None = None

    def settings(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in OURS}
        return inherited | {"STILLROOM_PORT": str(self.port), "STILLROOM_NO_SAMPLE": "1"}

    def start(self) -> subprocess.Popen[bytes]:
        with self.console.open("wb") as stream:
            command = [sys.executable, "-m", "workers.launcher"]
            self.launcher = subprocess.Popen(
                command, cwd=self.folder, env=self.settings(), stdout=stream, stderr=stream
            )
        return self.launcher

    def said(self) -> str:
        return self.console.read_text()

    def wait_for(self, words: str) -> None:
        wait_until(
            lambda: (
                words in self.said()
                or (self.launcher is not None and self.launcher.poll() is not None)
            )
        )
        assert words in self.said()

    def wait_for_answer(self) -> None:
        wait_until(lambda: self.get("healthz") == 200)

    def get(self, path: str) -> int | None:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/{path}", timeout=10
            ) as response:
                return int(response.status)
        except OSError:
            return None

    def children(self) -> list[psutil.Process]:
        """Everything that runs on behalf of this clone's launcher."""
        return psutil.Process(self.launcher.pid).children(recursive=True) if self.launcher else []

    def child(self, words: str) -> psutil.Process:
        return next(child for child in self.children() if words in " ".join(child.cmdline()))

    def remove(self) -> None:
        if self.launcher is not None and self.launcher.poll() is None:
            self.launcher.send_signal(signal.SIGINT)
            self.launcher.wait(PATIENCE)
        shutil.rmtree(self.outside)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def running() -> Iterator[Clone]:
    """A clone that has been started and answers."""
    clone = Clone()
    clone.start()
    clone.wait_for(STARTED)
    yield clone
    clone.remove()


@pytest.fixture
def clone() -> Iterator[Clone]:
    clone = Clone()
    yield clone
    clone.remove()


def test_the_first_start_ends_at_a_sign_in_link_that_works(running: Clone) -> None:
    address = f"http://127.0.0.1:{running.port}/"
    link = running.said().split("Sign in for the first time: ")[1].split()[0]

    assert f"Stillroom is running at {address}" in running.said()
    assert running.get(link.removeprefix(address)) == 200


def test_secrets_are_closed_to_others_and_no_folder_above_is_changed(running: Clone) -> None:
    assert (running.folder / "var" / "env").stat().st_mode & 0o777 == 0o600
    assert modes(running.folder) == running.modes_at_first


def test_nothing_listens_beyond_loopback(running: Clone) -> None:
    listening = []
    for child in running.children():
        with suppress(psutil.NoSuchProcess):  # connections to Postgres come and go
            listening += [
                one.laddr
                for one in child.net_connections("inet")
                if one.status == psutil.CONN_LISTEN
            ]

    assert {(address.ip, address.port) for address in listening} == {("127.0.0.1", running.port)}


def test_a_second_start_is_told_that_the_first_one_runs(running: Clone) -> None:
    command = [sys.executable, "-m", "workers.launcher"]
    second = subprocess.run(
        command, cwd=running.folder, env=running.settings(), capture_output=True, text=True
    )

    assert second.returncode == 1
    assert (
        f"already running here (pid {running.launcher and running.launcher.pid})" in second.stderr
    )
    assert "Traceback" not in second.stderr


@pytest.mark.parametrize(
    ("words", "label"), [("uvicorn", "web"), ("postgres -D", "Postgres"), ("redis-server", "Redis")]
)
def test_a_killed_child_comes_back(running: Clone, words: str, label: str) -> None:
    killed = running.child(words)
    killed.kill()
    running.wait_for(f"{label} was killed by SIGKILL")
    running.wait_for(f"{label} was started again.")
    running.wait_for_answer()

    assert running.child(words).pid != killed.pid


def test_what_a_killed_launcher_left_is_stopped_and_ctrl_c_stops_everything(clone: Clone) -> None:
    first = clone.start()
    clone.wait_for(STARTED)
    left = clone.children()
    first.kill()
    first.wait()
    second = clone.start()
    clone.wait_for(STARTED)

    assert "An earlier start was killed; its" in clone.said()
    assert not any(process.is_running() for process in left)

    right = clone.children()
    second.send_signal(signal.SIGINT)
    assert second.wait(PATIENCE) == 0
    assert clone.said().endswith("Stopped.\n")
    assert not any(process.is_running() for process in right)


def test_a_taken_port_is_one_sentence_and_nothing_is_left_running(clone: Clone) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", clone.port))
        taken.listen()
        code = clone.start().wait(PATIENCE)

    assert code == 1
    assert clone.said() == (
        f"Port {clone.port} on 127.0.0.1 cannot be used (Address already in use). "
        f"Stop the program that has it, or choose another: STILLROOM_PORT={clone.port + 1} make run\n"
    )


def test_a_damaged_database_is_one_sentence_and_nothing_is_left_running(clone: Clone) -> None:
    (clone.folder / "var" / "postgres").mkdir(parents=True)
    code = clone.start().wait(PATIENCE)

    assert code == 1
    assert "var/postgres is not whole" in clone.said()
    assert "Traceback" not in clone.said()
