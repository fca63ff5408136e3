"""One start of Stillroom: services, tables, web and workers, the first sign-in link.

Then the launcher watches its children; at the end it stops everything in reverse order.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from webapp.base import environment
from webapp.base.running_web import LOCK_FILE
from workers import heartbeat
from workers.launcher import process_record, settings_file
from workers.launcher.child_process import ChildProcess
from workers.launcher.errors import LauncherError, from_os_error, last_line
from workers.launcher.hang_watch import HangWatch, answers_at, heartbeat_in
from workers.launcher.launcher_lock import hold_lock
from workers.launcher.services import folders as service_folders
from workers.launcher.services.answers import services_answer
from workers.launcher.services.folders import Folders
from workers.launcher.services.start import start_postgres, start_redis
from workers.launcher.web_server import uvicorn_arguments

PARTS = ("web", "worker")
# docker-compose.yml gives the worker's container 90 s to stop, which covers both.
TRAINER_SECONDS = 60
CHILD_SECONDS = 15.0
# Long, for a busy machine; a web that dies meanwhile is reported at once.
WEB_SECONDS = 180.0
# make and the terminal may both pass on one Ctrl-C.
SAME_SIGNAL_SECONDS = 2.0
POLL_SECONDS = 0.25


class Launcher:
    """One start of Stillroom in one clone.

    `parts` are what runs here; `say` prints a sentence at the console.
    """

    def __init__(self, clone: Path, parts: Collection[str], say: Callable[[str], None]) -> None:
        self.clone, self.parts, self.say = clone, parts, say
        self.folders: Folders = service_folders.prepare(clone)
        self.children: list[ChildProcess] = []
        # Set by the first signal: stop in order.
        self.stopping = threading.Event()
        # Set by the second signal: do not wait for trainers.
        self.hurry = threading.Event()
        self._stopped_at = 0.0
        self._record: Path = self.folders.var / "processes.json"
        self._heartbeats: Path = self.folders.var / process_record.HEARTBEATS
        settings = environment.refuse_unsafe(environment.read())
        self.host, self.port, self.sample = settings.host, settings.port, not settings.no_sample
        # "*" allows any name, ".example.org" that one and those below.
        self.allowed_host = next(iter(settings.allowed_hosts), "*").strip("*.") or "localhost"
        # JSON logs are collected from the output of the container.
        self.to_stdout = settings.logs == "json"
        self.address = (
            f"http://{'127.0.0.1' if self.host in ('0.0.0.0', '::') else self.host}:{self.port}/"
        )
        self._watch = HangWatch(
            settings.hung_seconds,
            services_answer,
            say,
            self._heartbeats / process_record.LAUNCHER,
        )

    def run(self) -> None:
        """Start everything, watch it until a signal asks for the end, and stop everything.

        Raises LauncherError if it cannot start.
        """
        with hold_lock(self.folders.var / LOCK_FILE, self.address), ExitStack() as stack:
            # SIGHUP too: a closed terminal stops everything in order.
            for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(name, self._on_signal)
            # Before our own are started: they hold the data folder and the port.
            self._stop_earlier_children()
            shutil.rmtree(self._heartbeats, ignore_errors=True)
            self._heartbeats.mkdir()
            stack.callback(self._stop)
            for step in self._steps():
                if self.stopping.is_set():
                    return
                step()
            self._watch.start(self.stopping)
            self.say("Ctrl-C checkpoints the runs and stops; the next start resumes them.")
            while not self.stopping.wait(POLL_SECONDS):
                self._restart_dead_children()

    # Starting

    def _steps(self) -> list[Callable[[], None]]:
        if "web" in self.parts:
            # The port is checked first, because it is the most frequent error and the cheapest
            # check. Workers need the tables; the first page should not wait for the workers.
            steps = [self._check_port, self._start_services, self._make_tables]
            steps += [self._start_web, self._print_address]
        else:
            steps = [self._start_services]
        if "worker" in self.parts:
            steps.append(self._start_worker)
        if "web" in self.parts and self.sample:
            steps.append(partial(self._try, "sample_run", "manage.py", "sample_run"))
        return steps

    def _stop_earlier_children(self) -> None:
        labels = process_record.stop(self._record)
        if labels:
            self.say(
                "An earlier start was killed; "
                f"its {', '.join(labels)} still ran and have been stopped."
            )

    def _check_port(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as probe:
            # As uvicorn does: connections in TIME_WAIT after a restart do not count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise LauncherError(
                    f"Port {self.port} on {self.host} cannot be used ({error.strerror}). "
                    "Stop the program that has it, or choose another: "
                    f"STILLROOM_PORT={self.port + 1} make run"
                ) from None

    def _start_services(self) -> None:
        file = environment.ENV_FILE
        operator = settings_file.operator_lines(file)
        addresses: dict[str, str] = {}
        # Without addresses first: those of an earlier start must not look like the operator's.
        settings_file.write(file, operator, {})
        settings = environment.read()
        if not settings.database_url:
            child, addresses["DATABASE_URL"] = start_postgres(self.folders)
            self._add(child)
        if not settings.redis_url:
            child, addresses["REDIS_URL"] = start_redis(self.folders)
            self._add(child)
        settings_file.write(file, operator, addresses)

    def _make_tables(self) -> None:
        if not self._command("migrate", "manage.py", "migrate", "--no-input", "--verbosity", "0"):
            log = self.folders.logs / "migrate.log"
            raise LauncherError(
                f"The tables could not be made: {last_line(log)} (log: {log}). "
                "Check DATABASE_URL and start again."
            )

    def _start_worker(self) -> None:
        # The solo pool is enough: a task only claims runs and starts supervisors. Mingling would
        # exchange revoked tasks with other workers, and no task is ever revoked.
        celery = "celery -A workers.app worker --pool solo --without-mingle"
        for label, module in (("worker", celery.split()), ("sweep", ["workers", "sweep"])):
            file = self._heartbeats / label
            child = self._start_program(label, *module, variables={heartbeat.VARIABLE: str(file)})
            self._watch.add(child, heartbeat_in(file))
        self._try("resume", "-m", "workers", "resume-all")

    def _start_web(self) -> None:
        child = self._start_program("web", *uvicorn_arguments(self.host, self.port))
        self._watch.add(
            child, answers_at(self.address, self.allowed_host, self._watch.hung_seconds / 3)
        )

    def _start_program(
        self, label: str, *module: str, variables: Mapping[str, str] | None = None
    ) -> ChildProcess:
        command, log = [sys.executable, "-m", *module], self.folders.logs / f"{label}.log"
        child = ChildProcess(
            label,
            command,
            log,
            self.clone,
            os.environ | dict(variables or {}),
            to_stdout=self.to_stdout,
        )
        child.start()
        self._add(child)
        return child

    def _print_address(self) -> None:
        """Wait until the web answers, then print its address and the first sign-in link."""
        self._wait_for_web()
        self._try("first_admin", "manage.py", "first_admin")
        self.say(f"Stillroom is running at {self.address}")
        link = last_line(self.folders.logs / "first_admin.log")
        if link.startswith("http"):
            self.say(f"Sign in for the first time: {link}")

    def _wait_for_web(self) -> None:
        deadline = time.monotonic() + WEB_SECONDS
        while time.monotonic() < deadline and not self.stopping.is_set():
            self._restart_dead_children()
            if self._web_answers():
                return
            self.stopping.wait(POLL_SECONDS)
        if not self.stopping.is_set():
            log = self.folders.logs / "web.log"
            raise LauncherError(
                f"The web did not answer at {self.address} within {WEB_SECONDS:g} s: "
                f"{last_line(log)} (log: {log})."
            )

    def _web_answers(self) -> bool:
        try:
            # Without the proxies of the environment: the address is on this machine.
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            direct.open(f"{self.address}healthz", timeout=5).close()
        except urllib.error.HTTPError:
            # The web runs; its page shows what is wrong.
            pass
        except OSError:
            return False
        return True

    # Watching and stopping

    def _restart_dead_children(self) -> None:
        for child in self.children:
            sentence = child.restart_if_dead()
            if sentence:
                self.say(sentence)
                self._write_record()

    def _stop(self) -> None:
        """Stop trainers, then web and workers, then the services.

        Trainers come first, because the database must still record their last events.
        """
        labels = {child.label for child in self.children}
        if "worker" in labels:
            self.say("Asking the runs for a checkpoint … (Ctrl-C again: do not wait)")
            self._try("stop", "-m", "workers", "stop-all", "--timeout", str(TRAINER_SECONDS))
        for child in reversed(self.children):
            child.stop(CHILD_SECONDS)
        self._record.unlink(missing_ok=True)
        shutil.rmtree(self.folders.sockets, ignore_errors=True)
        if labels:
            self.say("Stopped.")

    def _on_signal(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if not self.stopping.is_set():
            self.stopping.set()
            self._stopped_at = now
        elif now - self._stopped_at > SAME_SIGNAL_SECONDS:
            self.hurry.set()

    # Helpers

    def _add(self, child: ChildProcess) -> None:
        self.children.append(child)
        self._write_record()

    def _write_record(self) -> None:
        process_record.record(
            self._record,
            {child.label: child.process.pid for child in self.children if child.process},
        )

    def _try(self, label: str, *arguments: str) -> None:
        """Run a command; a failure is printed and stops nothing."""
        try:
            if not self._command(label, *arguments) and not self.hurry.is_set():
                log = self.folders.logs / f"{label}.log"
                self.say(f"`{' '.join(arguments)}` failed: {last_line(log)} (log: {log})")
        # On a full disk the log cannot be opened; the launcher must still stop the rest in order.
        except OSError as error:
            self.say(str(from_os_error(error, f"`{' '.join(arguments)}`")))

    def _command(self, label: str, *arguments: str) -> bool:
        """Run one of our commands to its end with its output in a log; return whether it succeeded.

        A second Ctrl-C kills it.
        """
        with (self.folders.logs / f"{label}.log").open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.clone,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
            # Not `wait`: a second Ctrl-C while this command runs sets `hurry`.
            while process.poll() is None:
                if self.hurry.is_set():
                    process.kill()
                time.sleep(0.05)
        return process.returncode == 0
