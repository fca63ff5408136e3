"""The order of things: services, tables, web and workers, the first sign-in link; then watch; and
everything backwards at the end.
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
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path

from webapp.base import environment
from workers.launcher import leftovers, settings_file
from workers.launcher.children import Child
from workers.launcher.refusal import Refusal, last_line, of_os_error
from workers.launcher.services import folders as places
from workers.launcher.services.folders import Folders
from workers.launcher.services.services import start_postgres, start_redis
from workers.launcher.single import only
from workers.launcher.web import arguments as web_arguments

TRAINER_SECONDS = 60
CHILD_SECONDS = 15.0
WEB_SECONDS = 180.0  # a busy machine; a web that dies meanwhile is told of at once
SAME_SIGNAL_SECONDS = 2.0  # make and the terminal may both pass on one Ctrl-C
LOOK_SECONDS = 0.25


PARTS = ("web", "worker")


class Launcher:
    """One start of Stillroom in one clone. `parts` are what runs here; `say` prints a sentence at
    the console.
    """

    def __init__(self, clone: Path, parts: Collection[str], say: Callable[[str], None]) -> None:
        self.clone, self.parts, self.say = clone, parts, say
        self.folders: Folders = places.prepare(clone)
        self.children: list[Child] = []
        self.ending = threading.Event()
        self.hurry = threading.Event()
        self._asked = 0.0
        settings = environment.read()
        self.host, self.port, self.sample = settings.host, settings.port, not settings.no_sample
        self.aloud = settings.logs == "json"  # whoever collects JSON reads a container's output
        self.address = (
            f"http://{'127.0.0.1' if self.host in ('0.0.0.0', '::') else self.host}:{self.port}/"
        )

    def run(self) -> None:
        """Start everything, watch it until a signal asks for the end, stop everything. Raises
        Refusal if it cannot start.
        """
        with only(self.folders.var / "launcher.lock", self.address), ExitStack() as stack:
            for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(name, self._on_signal)
            self._clear_leftovers()
            stack.callback(self._stop)
            web, worker = ("web" in self.parts), ("worker" in self.parts)
            steps = (
                [
                    self._check_port,
                    self._start_services,
                    self._make_tables,
                    self._start_web,
                    self._greet,
                ]
                if web
                else [self._start_services]
            )
            steps += [self._start_worker] if worker else []
            steps += [self._start_sample] if web and self.sample else []
            for step in steps:
                if self.ending.is_set():
                    return
                step()
            self.say("Ctrl-C checkpoints the runs and stops; the next start goes on with them.")
            self._watch()

    # Starting

    def _clear_leftovers(self) -> None:
        stopped = leftovers.stop(self._record)
        if stopped:
            self.say(
                f"An earlier start was killed; its {', '.join(stopped)} still ran and have been stopped."
            )

    def _check_port(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise Refusal(
                    f"Port {self.port} on {self.host} cannot be used ({error.strerror}). "
                    f"Stop the program that has it, or choose another: STILLROOM_PORT={self.port + 1} make run"
                ) from None

    def _start_services(self) -> None:
        file = environment.ENV_FILE
        own, made = settings_file.kept(file), {}
        settings_file.write(
            file, own, {}
        )  # so that addresses of an earlier start are not taken for the operator's
        given = environment.read()
        if not given.database_url:
            child, made["DATABASE_URL"] = start_postgres(self.folders)
            self._adopt(child)
        if not given.redis_url:
            child, made["REDIS_URL"] = start_redis(self.folders)
            self._adopt(child)
        settings_file.write(file, own, made)

    def _make_tables(self) -> None:
        if not self._command("migrate", "manage.py", "migrate", "--no-input", "--verbosity", "0"):
            log = self.folders.logs / "migrate.log"
            raise Refusal(
                f"The tables could not be made: {last_line(log)} (log: {log}). Check DATABASE_URL and start again."
            )

    def _start_web(self) -> None:
        self._start_program("web", *web_arguments(self.host, self.port))

    def _start_worker(self) -> None:
        self._start_program(
            "worker", "celery", "-A", "workers.app", "worker", "--pool", "solo", "--without-mingle"
        )
        self._start_program("sweep", "workers", "sweep")
        self._try("resume", "-m", "workers", "resume-all")

    def _start_program(self, label: str, *module: str) -> None:
        command, log = [sys.executable, "-m", *module], self.folders.logs / f"{label}.log"
        child = Child(label, command, log, self.clone, os.environ, aloud=self.aloud)
        child.start()
        self._adopt(child)

    def _greet(self) -> None:
        """Once the web answers: its address and the first administrator's link. The rest of the
        start goes on behind it.
        """
        self._wait_for_web()
        self._try("first_admin", "manage.py", "first_admin")
        self.say(f"Stillroom is running at {self.address}")
        link = last_line(self.folders.logs / "first_admin.log")
        if link.startswith("http"):
            self.say(f"Sign in for the first time: {link}")

    def _start_sample(self) -> None:
        self._try("sample_run", "manage.py", "sample_run")

    def _wait_for_web(self) -> None:
        deadline = time.monotonic() + WEB_SECONDS
        while time.monotonic() < deadline and not self.ending.is_set():
            self._tend()
            if self._web_answers():
                return
            self.ending.wait(LOOK_SECONDS)
        if not self.ending.is_set():
            log = self.folders.logs / "web.log"
            raise Refusal(
                f"The web did not answer at {self.address} within {WEB_SECONDS:g} s: {last_line(log)} (log: {log})."
            )

    def _web_answers(self) -> bool:
        try:
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            direct.open(f"{self.address}healthz", timeout=5).close()
        except urllib.error.HTTPError:
            pass  # an answer, if not a good one: the page will say what is wrong
        except OSError:
            return False
        return True

    # Watching and stopping

    def _watch(self) -> None:
        while not self.ending.wait(LOOK_SECONDS):
            self._tend()

    def _tend(self) -> None:
        for child in self.children:
            sentence = child.tend()
            if sentence:
                self.say(sentence)
                self._write_record()

    def _stop(self) -> None:
        """Trainers first, while the database can still take their last words; then web and workers,
        then the services.
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
        if not self.ending.is_set():
            self.ending.set()
            self._asked = now
        elif now - self._asked > SAME_SIGNAL_SECONDS:
            self.hurry.set()

    # Small things

    @property
    def _record(self) -> Path:
        return self.folders.var / "processes.json"

    def _adopt(self, child: Child) -> None:
        self.children.append(child)
        self._write_record()

    def _write_record(self) -> None:
        leftovers.record(
            self._record,
            {child.label: child.process.pid for child in self.children if child.process},
        )

    def _try(self, label: str, *arguments: str) -> None:
        """A command whose failure is said, but stops nothing."""
        try:
            if not self._command(label, *arguments) and not self.hurry.is_set():
                log = self.folders.logs / f"{label}.log"
                self.say(f"`{' '.join(arguments)}` failed: {last_line(log)} (log: {log})")
        except OSError as error:
            self.say(str(of_os_error(error, f"`{' '.join(arguments)}`")))

    def _command(self, label: str, *arguments: str) -> bool:
        """Run one of our own commands to its end, its words in a log; whether it did what it was
        asked.
        """
        with (self.folders.logs / f"{label}.log").open("wb") as stream:
            command = [sys.executable, *arguments]
            process = subprocess.Popen(
                command,
                cwd=self.clone,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
            while process.poll() is None:
                if self.hurry.is_set():
                    process.kill()
                time.sleep(0.05)
        return process.returncode == 0
