"""A short piece of chaos; `make chaos` runs longer ones."""

from __future__ import annotations

import subprocess
import sys


def test_after_some_chaos_every_record_is_complete() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.faults.chaos",
        "--seed",
        "3",
        "--minutes",
        "0.2",
        "--runs",
        "2",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    assert done.stdout.count("complete, one curve") == 2, done.stdout
