"""A child that dies is started again, later each time; a child that does not end is ended."""

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


def tended(one: ChildProcess, sentences: int) -> list[str]:
    """What the launcher would have said, up to that many sentences."""
    said: list[str] = []
    deadline = time.monotonic() + 60
    while len(said) < sentences and time.monotonic() < deadline:
        sentence = one.restart_if_dead()
        said += [sentence] if sentence else []
        time.sleep(0.01)
    return said


def test_a_killed_child_is_started_again(tmp_path: Path) -> None:
    one = child(tmp_path, "import time; time.sleep(60)")
    first = one.start()
    first.kill()
    first.wait()
    said = tended(one, 2)

    assert said[0].startswith("child was killed by SIGKILL; starting it again in 0.01 s.")
    assert said[1] == "child was started again."
    assert one.process is not None and one.process.pid != first.pid and one.process.poll() is None
    one.stop(5)


def test_a_child_that_keeps_dying_is_started_ever_later_and_its_last_line_is_shown(
    tmp_path: Path,
) -> None:
    one = child(tmp_path, "import sys; sys.exit('no such port')")
    one.start()
    deaths = tended(one, 5)[::2]

    assert [death.split("again in ")[1].split(" (log")[0] for death in deaths] == [
        f"{wait} s. Its last line: no such port" for wait in (0.01, 0.02, 0.04)
    ]


def test_a_child_that_cannot_be_started_again_is_tried_later(tmp_path: Path) -> None:
    one = child(tmp_path, "")
    one.start().wait()
    one.command = [str(tmp_path / "gone")]
    said = tended(one, 2)

    assert (
        said[1] == f"Starting child again failed at {tmp_path / 'gone'}: No such file or directory."
    )
    assert one.restart_if_dead() is None


def test_a_child_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    one = child(
        tmp_path,
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
    )
    process = one.start()
    while "deaf" not in (tmp_path / "child.log").read_text():
        time.sleep(0.01)
    one.stop(0.1)

    assert process.returncode == -signal.SIGKILL


def test_endings_are_told_in_words() -> None:
    assert describe_exit(3) == "ended with code 3"
    assert describe_exit(-15) == "was killed by SIGTERM"


def test_a_long_log_is_set_aside_before_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "LOG_BYTES", 10)
    (tmp_path / "child.log").write_text("an old and long story\n")
    one = child(tmp_path, "print('new')")
    one.start().wait()

    assert (tmp_path / "child.log.1").read_text() == "an old and long story\n"
    assert (tmp_path / "child.log").read_text() == "new\n"
