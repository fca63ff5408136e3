"""A child that dies is restarted, later each time; a child that does not exit is killed."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from workers.launcher import child_process
from workers.launcher.child_process import ChildProcess, describe_exit


def child(folder: Path, code: str) -> ChildProcess:
    return ChildProcess(
        "child", [sys.executable, "-c", code], folder / "child.log", folder, {}, wait=0.01
    )


def sentences_of(process: ChildProcess, count: int) -> list[str]:
    """Return what the launcher would print, up to `count` sentences."""
    sentences: list[str] = []
    deadline = time.monotonic() + 60
    while len(sentences) < count and time.monotonic() < deadline:
        sentence = process.restart_if_dead()
        sentences += [sentence] if sentence else []
        time.sleep(0.01)
    return sentences


def test_a_killed_child_is_started_again(tmp_path: Path) -> None:
    dying = child(tmp_path, "import time; time.sleep(60)")
    first = dying.start()
    first.kill()
    first.wait()
    sentences = sentences_of(dying, 2)

    assert sentences[0].startswith("child was killed by SIGKILL; starting it again in 0.01 s.")
    assert sentences[1] == "child was started again."
    assert (
        dying.process is not None
        and dying.process.pid != first.pid
        and dying.process.poll() is None
    )
    dying.stop(5)


def test_a_child_that_keeps_dying_is_restarted_later_each_time_and_its_last_line_is_shown(
    tmp_path: Path,
) -> None:
    dying = child(tmp_path, "import sys; sys.exit('no such port')")
    dying.start()
    deaths = sentences_of(dying, 5)[::2]

    assert [death.split("again in ")[1].split(" (log")[0] for death in deaths] == [
        f"{wait} s. Its last line: no such port" for wait in (0.01, 0.02, 0.04)
    ]


def test_a_failed_restart_is_tried_again_later(tmp_path: Path) -> None:
    dying = child(tmp_path, "")
    dying.start().wait()
    dying.command = [str(tmp_path / "gone")]
    sentences = sentences_of(dying, 2)

    assert (
        sentences[1]
        == f"Starting child again failed at {tmp_path / 'gone'}: No such file or directory."
    )
    assert dying.restart_if_dead() is None


def test_a_child_that_ignores_the_stop_signal_is_killed(tmp_path: Path) -> None:
    dying = child(
        tmp_path,
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('ready', flush=True); time.sleep(60)",
    )
    process = dying.start()
    while "ready" not in (tmp_path / "child.log").read_text():
        time.sleep(0.01)
    dying.stop(0.1)

    assert process.returncode == -signal.SIGKILL


def test_an_exit_is_described_in_words() -> None:
    assert describe_exit(3) == "ended with code 3"
    assert describe_exit(-15) == "was killed by SIGTERM"


def test_a_long_log_is_rotated_before_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "LOG_BYTES", 10)
    (tmp_path / "child.log").write_text("an old and long story\n")
    dying = child(tmp_path, "print('new')")
    dying.start().wait()

    assert (tmp_path / "child.log.1").read_text() == "an old and long story\n"
    assert (tmp_path / "child.log").read_text() == "new\n"
