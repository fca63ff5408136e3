"""One launcher per clone, and the children of a killed one are stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

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


def test_another_process_with_the_same_pid_is_not_stopped(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    started = psutil.Process(process.pid).create_time()
    record = {"owner": [1, 0.0], "children": {"web": [process.pid, started - 100]}}
    (tmp_path / "record").write_text(json.dumps(record))

    assert process_record.stop(tmp_path / "record") == []
    assert process.poll() is None
    process.kill()
    process.wait()


def test_an_incomplete_record_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "record").write_text('{"owner": [1')

    assert process_record.stop(tmp_path / "record") == []
    assert not process_record.owner_lives(tmp_path / "record")
