"""One launcher per clone, and the children of a killed one are stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from workers import process_identity
from workers.launcher import process_record
from workers.launcher.errors import LauncherError
from workers.launcher.launcher_lock import hold_lock

ADDRESS = "http://127.0.0.1:8000/"
HOLDER = f"""
import sys, time
from pathlib import Path
from workers.launcher.launcher_lock import hold_lock
with hold_lock(Path(sys.argv[1]), {ADDRESS!r}):
    print("held", flush=True)
    time.sleep(60)
"""

OWNER = """
import subprocess, sys
from pathlib import Path
from workers import process_identity
from workers.launcher import process_record
child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
process_record.record(Path(sys.argv[1]), {"web": child.pid})
print(child.pid)
"""


def hold(lock: Path) -> subprocess.Popen[str]:
    """Start another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_launcher_names_the_address_of_the_first_one(tmp_path: Path) -> None:
    holder = hold(tmp_path / "lock")

    with (
        pytest.raises(
            LauncherError, match=rf"already running here \(pid {holder.pid}\) at {ADDRESS}"
        ),
        hold_lock(tmp_path / "lock", ADDRESS),
    ):
        pass
    holder.kill()
    holder.communicate()


def test_the_lock_of_a_killed_launcher_is_free(tmp_path: Path) -> None:
    holder = hold(tmp_path / "lock")
    holder.kill()
    holder.communicate()

    with hold_lock(tmp_path / "lock", ADDRESS):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_children_of_a_killed_owner_are_stopped(tmp_path: Path) -> None:
    owner = subprocess.run(
        [sys.executable, "-c", OWNER, str(tmp_path / "record")],
        capture_output=True,
        text=True,
        check=True,
    )
    child = psutil.Process(int(owner.stdout))

    assert not process_record.owner_lives(tmp_path / "record")
    assert process_record.stop(tmp_path / "record") == ["web"]
    assert not child.is_running()


@pytest.fixture
def sleeping() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_set_makes_no_living_process_dead(
    tmp_path: Path,
    sleeping: subprocess.Popen[bytes],
    hours: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel then gives another time of the boot, and Unix start times move with it."""
    process_record.record(tmp_path / "record", {"web": sleeping.pid})
    boot_time = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot_time + 3600 * hours)

    assert process_record.owner_lives(tmp_path / "record")
    assert process_record.dead(tmp_path / "record") == []
    assert process_record.stop(tmp_path / "record") == ["web"]
    assert not psutil.pid_exists(sleeping.pid)


@pytest.mark.parametrize("changed", [{"started": 1.0}, {"boot": "another boot"}])
def test_another_process_with_the_same_pid_is_not_stopped(
    tmp_path: Path, sleeping: subprocess.Popen[bytes], changed: dict[str, object]
) -> None:
    child = process_identity.identity(sleeping.pid) | changed
    record = {"owner": process_identity.identity(os.getpid()), "children": {"web": child}}
    (tmp_path / "record").write_text(json.dumps(record))

    assert process_record.dead(tmp_path / "record") == ["web"]
    assert process_record.stop(tmp_path / "record") == []
    assert sleeping.poll() is None


@pytest.mark.parametrize(
    "content", ['{"owner": [1', "[]", '{"owner": [1, 2.5], "children": {"web": [1, 2.5]}}']
)
def test_an_unreadable_record_stops_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "record").write_text(content)

    assert process_record.stop(tmp_path / "record") == []
    assert not process_record.owner_lives(tmp_path / "record")
