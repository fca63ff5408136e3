"""An installation for fault tests: Postgres, Redis, web, worker, sweep, and a wire to cut.

Dead children are restarted as the launcher does. Postgres runs without fsync, but killing its
processes loses no committed transaction.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.faults.wire import Wire
from workers.launcher.child_process import ChildProcess
from workers.launcher.services import account as accounts
from workers.launcher.services import folders, postgres, redis_server
from workers.launcher.services.postgres import Postgres
from workers.launcher.services.redis_server import Redis

CLONE = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 90.0
LEASE_SECONDS = 2
QUICK = ("fsync=off", "full_page_writes=off", "shared_buffers=32MB", "jit=off")
Result = TypeVar("Result")


@dataclass
class World:
    """The installation's folder and its children by name: postgres, redis, web, worker, sweep."""

    folder: Path
    lease_seconds: int = LEASE_SECONDS
    children: dict[str, ChildProcess] = field(default_factory=dict)
    wire: Wire | None = None

    def __post_init__(self) -> None:
        account = accounts.services_account()
        programs = folders.reachable_programs(CLONE, account)
        self.postgres = Postgres(
            programs,
            self.folder / "postgres",
            self.folder,
            self.folder / "postgres.log",
            account,
            QUICK,
        )
        self.redis = Redis(programs, self.folder, self.folder / "redis.log", account)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of a process that reaches the database directly."""
        return {
            "DATABASE_URL": f"{self.postgres.url}&connect_timeout=3",
            "REDIS_URL": self.redis.url,
            "SECRET_KEY": "the key of a world that does not last",
            "STILLROOM_ENV_FILE": str(self.folder / "env"),
            "STILLROOM_STATE": str(self.folder / "state"),
            "STILLROOM_ARTIFACTS": str(self.folder / "artifacts"),
            "STILLROOM_TRAINER": f"{sys.executable} -m tests.faults.steady",
            "STILLROOM_LEASE_SECONDS": str(self.lease_seconds),
            "STILLROOM_MAX_RESTARTS": "1000",
            "STILLROOM_SLOTS": "8",
            "STILLROOM_HOST_NAME": "still-one",
            "DJANGO_SETTINGS_MODULE": "webapp.settings",
        }

    @property
    def behind_the_wire(self) -> dict[str, str]:
        """Return the variables of workers and trainers, which reach the database by the wire."""
        url = self.environment["DATABASE_URL"].replace(str(self.folder), str(self.folder / "near"))
        return {**os.environ, **self.environment, "DATABASE_URL": url}

    def start_services(self) -> None:
        postgres.prepare(self.postgres, ["--no-sync"])
        self._service("postgres", self.postgres.command(), self.postgres.log)
        self._service("redis", self.redis.command(), self.redis.log)
        for name in ("postgres", "redis"):
            self.wait_until_ready(name)
        (self.folder / "near").mkdir()
        self.wire = Wire(self.folder / "near", self.folder)

    def start_program(
        self, name: str, *module: str, environment: Mapping[str, str] | None = None
    ) -> None:
        command = [sys.executable, "-m", *module]
        child = ChildProcess(
            name,
            command,
            self.folder / f"{name}.log",
            CLONE,
            environment or self.behind_the_wire,
            wait=0.2,
        )
        child.start()
        self.children[name] = child

    def start_worker(
        self, name: str = "worker", environment: Mapping[str, str] | None = None
    ) -> None:
        options = (
            "--pool",
            "solo",
            "--without-mingle",
            "--without-gossip",
            "--hostname",
            f"{name.replace(' ', '-')}@world",
        )
        self.start_program(
            name, "celery", "-A", "workers.app", "worker", *options, environment=environment
        )

    def start_sweep(
        self, name: str = "sweep", environment: Mapping[str, str] | None = None
    ) -> None:
        self.start_program(name, "workers", "sweep", environment=environment)

    def start_web(self) -> int:
        """Start the web and return its port."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        address = ["--host", "127.0.0.1", "--port", str(port)]
        self.start_program(
            "web",
            "uvicorn",
            "webapp.asgi:application",
            *address,
            environment={**os.environ, **self.environment},
        )
        return port

    def kill(self, name: str) -> None:
        """Send SIGKILL to a child; for Postgres to each of its processes."""
        process = self.children[name].process
        assert process is not None
        victims = [psutil.Process(process.pid)] if process.poll() is None else []
        victims += [
            child
            for victim in victims
            for child in (victim.children(recursive=True) if name == "postgres" else [])
        ]
        for victim in victims:
            kill_if_alive(victim)
        process.wait()
        psutil.wait_procs(victims)

    def revive(self, name: str) -> None:
        """Start a child again at once."""
        if name == "postgres":
            postgres.prepare(self.postgres)
        self.children[name].start()
        if name in ("postgres", "redis"):
            self.wait_until_ready(name)

    def restart_dead(self) -> None:
        """Restart dead children as the launcher does, after a short wait."""
        for name, child in self.children.items():
            if (
                name == "postgres"
                and child.process is not None
                and child.process.poll() is not None
            ):
                postgres.prepare(self.postgres)
            child.restart_if_dead()

    def heal(self) -> None:
        """Reconnect the wire and restart dead children at once."""
        assert self.wire is not None
        self.wire.cut()
        self.wire.reconnect()
        for name, child in self.children.items():
            if child.process is not None and child.process.poll() is not None:
                self.revive(name)

    def wait_until_ready(self, name: str) -> None:
        process = self.children[name].process
        assert process is not None
        if name == "postgres":
            postgres.wait_until_ready(self.postgres, process)
        else:
            redis_server.wait_until_ready(self.redis, process)

    def end(self) -> None:
        """Kill everything that was started here, also supervisors and trainers."""
        for process in processes_of(self.folder):
            kill_if_alive(process)
        for child in self.children.values():
            if child.process is not None:
                child.process.kill()
                child.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _service(self, name: str, command: list[str], log: Path) -> None:
        account = accounts.services_account()
        child = ChildProcess(
            name,
            command,
            log,
            self.folder,
            accounts.service_environment(),
            account.popen(),
            signal.SIGINT,
            wait=0.2,
        )
        child.start()
        self.children[name] = child


def kill_if_alive(process: psutil.Process) -> None:
    """Send SIGKILL, unless the process has just exited, as Postgres' servers do by themselves."""
    with suppress(psutil.NoSuchProcess):
        process.kill()


def processes_of(folder: Path) -> Iterator[psutil.Process]:
    """Yield the processes whose environment names the world in `folder`."""
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get("STILLROOM_STATE", "").startswith(f"{folder}/")
                and process.pid != os.getpid()
            ):
                yield process
        except psutil.Error:
            continue


@contextmanager
def world(lease_seconds: int = LEASE_SECONDS) -> Iterator[World]:
    """Yield a world whose services run, in a private folder with a short path."""
    folder = Path(tempfile.gettempdir()) / f"stillroom-world-{os.getpid()}-{secrets.token_hex(3)}"
    folders.make_private(folder, accounts.services_account())
    site = World(folder, lease_seconds)
    try:
        site.start_services()
        yield site
    finally:
        site.end()


def migrate(environment: Mapping[str, str]) -> None:
    command = [sys.executable, "manage.py", "migrate", "--no-input", "--verbosity", "0"]
    subprocess.run(command, cwd=CLONE, env={**os.environ, **environment}, check=True)


def until(
    condition: Callable[[], Result],
    event: str,
    timeout: float = WAIT_SECONDS,
    meanwhile: Callable[[], Any] = lambda: None,
) -> Result:
    """Wait until `condition` returns something true, and return that.

    Raises AssertionError that `event` did not happen.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if result := condition():
            return result
        meanwhile()
        time.sleep(0.05)
    raise AssertionError(f"{event} did not happen within {timeout:g} s")
