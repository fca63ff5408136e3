"""`make run` as a whole: a fresh clone with its own services, from the start to the end."""

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
from workers import heartbeat
from workers.launcher import process_record

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("trainer", "webapp", "workers", "templates", "static")
OURS = {"STILLROOM_ENV_FILE", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "STILLROOM_STATE"}
WAIT_SECONDS = 120
STARTED = "Ctrl-C checkpoints the runs"


class Clone:
    """A fresh clone with its own folder and port, and the launcher last started in it."""

    def __init__(self) -> None:
        self.outside = Path(mkdtemp(prefix="stillroom-clone-", dir="/tmp"))
        self.outside.chmod(0o755)
        self.folder = self.outside / "clone"
        self.folder.mkdir()
        for name in COPIED:
            shutil.copytree(ROOT / name, self.folder / name)
        for name in ("manage.py", "pyproject.toml"):
            shutil.copy(ROOT / name, self.folder)
        (self.folder / "node_modules").symlink_to(ROOT / "node_modules")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.first_modes = modes(self.folder)
        self.console = self.outside / "console"
        self.launcher: subprocess.Popen[bytes] | None = None

    def settings(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in OURS}
        ours = {"STILLROOM_PORT": str(self.port), "STILLROOM_NO_SAMPLE": "1"}
        # Less than by default, so that the test of hung children waits less.
        return inherited | ours | {"STILLROOM_HUNG_SECONDS": "20"}

    def start(self) -> subprocess.Popen[bytes]:
        with self.console.open("wb") as stream:
            command = [sys.executable, "-m", "workers.launcher"]
            self.launcher = subprocess.Popen(
                command, cwd=self.folder, env=self.settings(), stdout=stream, stderr=stream
            )
        return self.launcher

    def output(self) -> str:
        return self.console.read_text()

    def wait_for(self, text: str) -> None:
        wait_until(
            lambda: (
                text in self.output()
                or (self.launcher is not None and self.launcher.poll() is not None)
            )
        )
        assert text in self.output()

    def wait_for_heartbeat(self, label: str) -> None:
        file = self.folder / "var" / "heartbeats" / label
        before = heartbeat.last(file)
        wait_until(lambda: heartbeat.last(file) > before)

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
        """Return all processes that this clone's launcher has started."""
        return psutil.Process(self.launcher.pid).children(recursive=True) if self.launcher else []

    def wait_for_another(self, argument: str, pid: int) -> None:
        """Wait until a child runs `argument` that is not the process `pid`."""
        wait_until(
            lambda: any(child.pid != pid for child in self.children_with(argument)),
        )

    def child(self, argument: str) -> psutil.Process:
        return self.children_with(argument)[0]

    def children_with(self, argument: str) -> list[psutil.Process]:
        matching = []
        for child in self.children():
            # Others come and go, and one that has just died is still in the list.
            with suppress(psutil.NoSuchProcess):
                if argument in " ".join(child.cmdline()):
                    matching.append(child)
        return matching

    def remove(self) -> None:
        if self.launcher is not None and self.launcher.poll() is None:
            self.launcher.send_signal(signal.SIGINT)
            self.launcher.wait(WAIT_SECONDS)
        shutil.rmtree(self.outside)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
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


def test_the_first_start_prints_a_sign_in_link_that_works(running: Clone) -> None:
    address = f"http://127.0.0.1:{running.port}/"
    link = running.output().split("Sign in for the first time: ")[1].split()[0]

    assert f"Stillroom is running at {address}" in running.output()
    assert running.get(link.removeprefix(address)) == 200


def test_others_cannot_read_secrets_and_no_parent_folder_is_changed(running: Clone) -> None:
    assert (running.folder / "var" / "env").stat().st_mode & 0o777 == 0o600
    assert modes(running.folder) == running.first_modes


def test_nobody_else_reads_or_enters_anything(running: Clone) -> None:
    """Not even the log with the first sign-in link."""
    var = running.folder / "var"
    assert var.stat().st_mode & 0o066 == 0
    assert (var / "log" / "first_admin.log").exists()
    open_to_others = [
        path
        for path in var.rglob("*")
        if path.lstat().st_mode & 0o077
        # A closed folder closes what is in it.
        and all(parent.stat().st_mode & 0o077 for parent in path.parents if var in parent.parents)
    ]
    assert [path for path in open_to_others if not path.is_symlink()] == []


def test_nothing_listens_beyond_loopback(running: Clone) -> None:
    listening = []
    for child in running.children():
        with suppress(psutil.NoSuchProcess):  # connections to Postgres come and go
            listening += [
                connection.laddr
                for connection in child.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            ]

    assert {(address.ip, address.port) for address in listening} == {("127.0.0.1", running.port)}


def test_a_second_start_fails_and_names_the_first_one(running: Clone) -> None:
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
    ("argument", "label"),
    [("uvicorn", "web"), ("postgres -D", "Postgres"), ("redis-server", "Redis")],
)
def test_a_killed_child_is_started_again(running: Clone, argument: str, label: str) -> None:
    killed = running.child(argument)
    killed.kill()
    running.wait_for(f"{label} was killed by SIGKILL")
    running.wait_for(f"{label} was started again.")
    running.wait_for_answer()

    assert running.child(argument).pid != killed.pid


def test_hung_children_are_started_again(running: Clone) -> None:
    """Suspended processes hang for certain; the kernel still accepts connections to the web."""
    hung = {"web": "uvicorn", "worker": "celery", "sweep": "workers sweep"}
    running.wait_for_answer()
    for label in ("worker", "sweep"):
        running.wait_for_heartbeat(label)
    # It beats before it looks, and takes a child for started at its second look at the earliest: a
    # child that has not started has longer than this test waits.
    for _ in range(4):
        running.wait_for_heartbeat(process_record.LAUNCHER)
    pids = {label: running.child(argument).pid for label, argument in hung.items()}
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    for label, argument in hung.items():
        running.wait_for(f"{label} has done nothing for ")
        running.wait_for_another(argument, pids[label])
    running.wait_for_answer()


def test_children_of_a_killed_launcher_are_stopped_and_ctrl_c_stops_everything(
    running: Clone,
) -> None:
    """The last test with this clone, because it ends with everything stopped."""
    first = running.launcher
    assert first is not None
    earlier = running.children()
    first.kill()
    first.wait()
    second = running.start()
    running.wait_for(STARTED)

    assert "An earlier start was killed; its" in running.output()
    assert not any(process.is_running() for process in earlier)

    later = running.children()
    second.send_signal(signal.SIGINT)
    assert second.wait(WAIT_SECONDS) == 0
    assert running.output().endswith("Stopped.\n")
    assert not any(process.is_running() for process in later)


def test_a_port_in_use_is_reported_in_one_sentence(clone: Clone) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", clone.port))
        listener.listen()
        code = clone.start().wait(WAIT_SECONDS)

    assert code == 1
    assert clone.output() == (
        f"Port {clone.port} on 127.0.0.1 cannot be used (Address already in use). "
        "Stop the program that has it, or choose another: "
        f"STILLROOM_PORT={clone.port + 1} make run\n"
    )


def test_a_damaged_database_is_reported_in_one_sentence(clone: Clone) -> None:
    (clone.folder / "var" / "postgres").mkdir(parents=True)
    code = clone.start().wait(WAIT_SECONDS)

    assert code == 1
    assert "var/postgres is not whole" in clone.output()
    assert "Traceback" not in clone.output()
