"""A child that runs and does nothing is killed, so that the launcher starts it again."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from workers import heartbeat
from workers.launcher import hang_watch, process_record
from workers.launcher.child_process import ChildProcess
from workers.launcher.hang_watch import HangWatch, answers_at, heartbeat_in
from workers.launcher.services.answers import postgres_answers, redis_answers
from workers.launcher.services.binaries import find_installed

ROOT = Path(__file__).resolve().parents[2]
BEATING = """
import sys, time
sys.path.insert(0, sys.argv[1])
from workers import heartbeat
while True:
    heartbeat.beat()
    time.sleep(0.02)
"""
# A child with a trainer: a process in a session of its own.
WITH_TRAINER = """
import subprocess, sys, time
trainer = subprocess.Popen(["sleep", "60"], start_new_session=True)
print(trainer.pid, flush=True)
time.sleep(60)
"""


class Watched:
    """A child with the watch of a launcher, whose time passes when the test says so."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *command: str) -> None:
        self.file, self.services_answer = folder / "child", True
        variables = os.environ | {heartbeat.VARIABLE: str(self.file)}
        command = (sys.executable, "-c", *command)
        self.child = ChildProcess("child", list(command), folder / "log", folder, variables)
        self.process = self.child.start()
        self.said: list[str] = []
        self.watch = HangWatch(90, lambda: self.services_answer, self.said.append, folder / "own")
        self.watch.add(self.child, heartbeat_in(self.file))
        self.now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def pass_time(self, seconds: float, step: float = 5.0) -> None:
        for _ in range(round(seconds / step)):
            self.now += step
            self.watch.look()

    def wait_for_heartbeat(self) -> None:
        last = heartbeat.last(self.file)
        until(lambda: heartbeat.last(self.file) > last)

    def suspend(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        until(lambda: psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED)
        self.watch.look()  # takes what it gave until then


def until(condition: Callable[[], bool]) -> None:
    # Bounded only so that a broken test ends.
    deadline = time.perf_counter() + 120
    while not condition():
        assert time.perf_counter() < deadline
        time.sleep(0.01)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Watched]]:
    started: list[Watched] = []

    def start_one(*command: str) -> Watched:
        started.append(Watched(tmp_path, monkeypatch, *command))
        return started[-1]

    yield start_one
    monkeypatch.undo()
    for watched in started:
        assert watched.child.process is not None
        watched.child.process.kill()
        watched.child.process.wait()


@pytest.fixture
def beating(start: Callable[..., Watched]) -> Watched:
    """A child that gives signs of life, one of which has been seen."""
    watched = start(BEATING, str(ROOT))
    watched.watch.look()
    watched.wait_for_heartbeat()
    watched.watch.look()
    return watched


def test_a_child_that_gives_signs_of_life_is_left_alone(beating: Watched) -> None:
    for _ in range(60):
        beating.wait_for_heartbeat()
        beating.pass_time(5)

    assert beating.process.poll() is None and beating.said == []


def test_a_suspended_child_is_killed_and_then_started_again(beating: Watched) -> None:
    beating.suspend()
    beating.pass_time(85)
    assert beating.process.poll() is None, "not before its time"
    beating.pass_time(10)

    assert beating.process.wait() == -signal.SIGKILL
    assert beating.said == ["child has done nothing for 90 s."]
    assert "starting it again in 0.5 s" in str(beating.child.restart_if_dead())


def test_the_next_process_has_the_time_of_a_start(
    beating: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    beating.suspend()
    beating.pass_time(95)
    beating.process.wait()
    beating.child.command = [sys.executable, "-c", "import time; time.sleep(600)"]
    second = beating.child.start()
    beating.pass_time(hang_watch.START_SECONDS)
    assert second.poll() is None
    beating.pass_time(10)

    assert second.wait() == -signal.SIGKILL


def test_nothing_is_killed_while_postgres_or_redis_are_out(beating: Watched) -> None:
    beating.suspend()
    beating.services_answer = False
    beating.pass_time(1200)
    assert beating.process.poll() is None
    beating.services_answer = True
    beating.pass_time(60)
    assert beating.process.poll() is None, "it has the whole time again to find them"
    beating.pass_time(60)

    assert beating.process.wait() == -signal.SIGKILL


def test_after_a_pause_of_the_whole_machine_nothing_is_killed(beating: Watched) -> None:
    beating.suspend()
    beating.now += 7200
    beating.watch.look()

    assert beating.process.poll() is None


def test_an_announced_silence_is_waited_for(beating: Watched) -> None:
    beating.suspend()
    heartbeat.beat_for(beating.file, within=3600)
    beating.pass_time(3500, step=30)

    assert beating.process.poll() is None


def test_a_trainer_survives_the_kill_of_its_worker(start: Callable[..., Watched]) -> None:
    worker = start(WITH_TRAINER)
    until(lambda: worker.child.log.read_text().endswith("\n"))
    trainer = psutil.Process(int(worker.child.log.read_text()))
    worker.pass_time(hang_watch.START_SECONDS + 10)

    assert worker.process.wait() == -signal.SIGKILL
    assert trainer.is_running()
    trainer.kill()


def test_children_of_a_watched_process_give_no_signs_for_it(tmp_path: Path) -> None:
    command = "from workers import heartbeat; import os; print(os.environ.get(heartbeat.VARIABLE))"
    variables = os.environ | {heartbeat.VARIABLE: str(tmp_path / "file")}
    output = subprocess.run(
        [sys.executable, "-c", command], env=variables, cwd=ROOT, capture_output=True, text=True
    ).stdout

    assert output == "None\n"


class Server:
    """A web that answers with `status`, closes without an answer (None), or is suspended."""

    def __init__(self) -> None:
        self.status: int | None = 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if outer.status is not None:
                    self.send_error(outer.status)

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"

    def serve(self) -> None:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.mark.parametrize("status", [200, 400, 503, None])
def test_any_reaction_of_the_web_is_a_sign_of_life(status: int | None) -> None:
    web = Server()
    web.status = status
    web.serve()
    assert answers_at(web.address, "localhost", 60)()
    web.server.shutdown()
    web.server.server_close()


def test_a_web_that_accepts_and_never_answers_gives_no_sign() -> None:
    web = Server()  # the kernel accepts connections, and nobody takes them
    assert not answers_at(web.address, "localhost", 0.2)()
    web.server.server_close()
    assert not answers_at(web.address, "localhost", 60)(), "nor one that listens no more"


def test_a_suspended_postgres_does_not_answer(
    started: Callable[[Path], str], open_folder: Path
) -> None:
    pg_isready = find_installed().postgres("pg_isready")
    url = started(open_folder / "clone")
    assert postgres_answers(url, pg_isready)
    process = psutil.Process(
        int((open_folder / "clone" / "var" / "postgres" / "postmaster.pid").read_text().split()[0])
    )
    process.suspend()
    assert not postgres_answers(url, pg_isready)
    process.resume()
    assert not postgres_answers("postgresql://127.0.0.1:1/stillroom", pg_isready)


def test_redis_answers_through_a_socket_and_is_missed(services: None) -> None:
    assert redis_answers(os.environ["REDIS_URL"])
    assert not redis_answers("redis://127.0.0.1:1/0")
    assert not redis_answers("unix:///nonexistent/redis.sock?db=0")


def test_the_health_check_names_who_gives_no_signs(tmp_path: Path) -> None:
    (tmp_path / process_record.HEARTBEATS).mkdir()
    for label in ("worker", "sweep"):
        heartbeat.beat_for(tmp_path / process_record.HEARTBEATS / label)
    heartbeat.beat_for(tmp_path / process_record.HEARTBEATS / "worker", within=-500)

    assert process_record.hung(tmp_path / "processes.json", 400) == ["worker"]
