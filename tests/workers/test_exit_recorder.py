"""The exit recorder outlives its starter and records how the trainer exited."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from workers.process_identity import process_started


def start_recorder(folder: Path, code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "workers.attempt.exit_recorder",
            str(folder),
            sys.executable,
            "-c",
            code,
        ],
        start_new_session=True,
    )


def report(folder: Path, recorder: subprocess.Popen[bytes]) -> dict[str, Any]:
    recorder.wait(timeout=120)
    content: dict[str, Any] = json.loads((folder / "exit.json").read_text())
    return content


def wait_for_ids(folder: Path) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (folder / "process.json").exists():
            content: dict[str, Any] = json.loads((folder / "process.json").read_text())
            return content
        time.sleep(0.01)
    pytest.fail("the exit recorder wrote no process.json")


def test_an_exit_code_is_reported_with_what_the_process_used(tmp_path: Path) -> None:
    exit = report(
        tmp_path, start_recorder(tmp_path, "import sys; print('last line'); sys.exit(65)")
    )
    assert (exit["code"], exit["signal"]) == (65, None)
    assert exit["max_rss_bytes"] > 1_000_000
    assert exit["out_of_memory"] is False
    assert "last line" in (tmp_path / "stdout.log").read_text()


def test_a_kill_is_reported_as_its_signal(tmp_path: Path) -> None:
    recorder = start_recorder(tmp_path, "import time; time.sleep(60)")
    os.kill(wait_for_ids(tmp_path)["trainer"]["pid"], signal.SIGKILL)
    exit = report(tmp_path, recorder)
    assert (exit["code"], exit["signal"]) == (None, signal.SIGKILL)


def test_a_stop_sent_to_the_exit_recorder_reaches_the_trainer(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(75)); "
        "print('ready', flush=True); time.sleep(60)"
    )
    recorder = start_recorder(tmp_path, code)
    wait_for_ids(tmp_path)
    while "ready" not in (tmp_path / "stdout.log").read_text():
        time.sleep(0.01)
    recorder.terminate()
    assert report(tmp_path, recorder)["code"] == 75


def test_only_one_of_two_exit_recorders_starts_a_trainer(tmp_path: Path) -> None:
    """A supervisor may die after it has started a recorder, before there is a `process.json`."""
    code = "import time; print('begun', flush=True); time.sleep(0.5)"
    recorders = [start_recorder(tmp_path, code) for _ in range(2)]
    assert [report(tmp_path, recorder)["code"] for recorder in recorders] == [0, 0]
    assert (tmp_path / "stdout.log").read_text() == "begun\n"


def test_a_terminal_interrupt_does_not_reach_the_trainer(tmp_path: Path) -> None:
    recorder = start_recorder(tmp_path, "import time; time.sleep(0.5)")
    wait_for_ids(tmp_path)
    recorder.send_signal(signal.SIGINT)
    assert report(tmp_path, recorder)["code"] == 0


def test_a_process_has_one_start_time() -> None:
    started = process_started(os.getpid())
    assert started is not None and started == process_started(os.getpid())


def test_a_dead_process_has_no_start_time() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    # Waits for its end and leaves the exit status unread.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_started(child.pid) is None, "a zombie does not count as running"
    child.wait()
    assert process_started(child.pid) is None
