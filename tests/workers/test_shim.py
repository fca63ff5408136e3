"""The shim outlives its starter and tells how the trainer ended."""

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

from workers.attempt.shim import process_started


def run_shim(folder: Path, code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "workers.attempt.shim", str(folder), sys.executable, "-c", code],
        start_new_session=True,
    )


def report(folder: Path, shim: subprocess.Popen[bytes]) -> dict[str, Any]:
    shim.wait(timeout=30)
    content: dict[str, Any] = json.loads((folder / "exit.json").read_text())
    return content


def when_known(folder: Path) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if (folder / "process.json").exists():
            content: dict[str, Any] = json.loads((folder / "process.json").read_text())
            return content
        time.sleep(0.01)
    pytest.fail("the shim never said whom it watches")


def test_an_exit_code_is_reported_with_what_the_process_used(tmp_path: Path) -> None:
    ended = report(tmp_path, run_shim(tmp_path, "import sys; print('last words'); sys.exit(65)"))
    assert (ended["code"], ended["signal"]) == (65, None)
    assert ended["max_rss_bytes"] > 1_000_000
    assert ended["out_of_memory"] is False
    assert "last words" in (tmp_path / "stdout.log").read_text()


def test_a_kill_is_reported_as_its_signal(tmp_path: Path) -> None:
    shim = run_shim(tmp_path, "import time; time.sleep(60)")
    os.kill(when_known(tmp_path)["trainer"]["pid"], signal.SIGKILL)
    ended = report(tmp_path, shim)
    assert (ended["code"], ended["signal"]) == (None, signal.SIGKILL)


def test_a_stop_sent_to_the_shim_reaches_the_trainer(tmp_path: Path) -> None:
    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(75)); print('ready', flush=True); time.sleep(60)"
    shim = run_shim(tmp_path, code)
    when_known(tmp_path)
    while "ready" not in (tmp_path / "stdout.log").read_text():
        time.sleep(0.01)
    shim.terminate()
    assert report(tmp_path, shim)["code"] == 75


def test_of_two_shims_one_starts_a_trainer(tmp_path: Path) -> None:
    """As when a supervisor was killed after it had started the first, which has not yet said so."""
    code = "import time; print('begun', flush=True); time.sleep(0.5)"
    shims = [run_shim(tmp_path, code) for _ in range(2)]
    assert [report(tmp_path, shim)["code"] for shim in shims] == [0, 0]
    assert (tmp_path / "stdout.log").read_text() == "begun\n"


def test_a_terminal_interrupt_leaves_the_trainer_alone(tmp_path: Path) -> None:
    shim = run_shim(tmp_path, "import time; time.sleep(0.5)")
    when_known(tmp_path)
    shim.send_signal(signal.SIGINT)
    assert report(tmp_path, shim)["code"] == 0


def test_a_process_is_known_by_its_start_time() -> None:
    started = process_started(os.getpid())
    assert started is not None and started == process_started(os.getpid())


def test_a_dead_process_has_no_start_time() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    time.sleep(0.2)
    assert process_started(child.pid) is None, "a zombie does not count as running"
    child.wait()
    assert process_started(child.pid) is None
