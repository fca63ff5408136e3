"""The cost of logging ten metrics per call, and how many of 2,000 calls survive a `kill -9`.

Stillroom beside Trackio, W&B and MLflow.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.alternate import spread
from bench.emit.recorders import RECORDERS
from bench.turns import ROOT, Command, ours, take, tracker

TURNS = 3
# Child processes of a killed tracker may still write.
SETTLE_SECONDS = 5.0
OURS = "Stillroom"


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as base:
        outputs = take(
            lambda: {
                tracker_name: _command(tracker_name, tempfile.mkdtemp(dir=base), "time")
                for tracker_name in RECORDERS
            },
            TURNS,
        )
    rows = []
    for tracker_name, turns in outputs.items():
        row: dict[str, Any] = {"ten metrics a call": tracker_name}
        for name, key in (
            ("p50 µs", "p50_us"),
            ("p99 µs", "p99_us"),
            ("points/s until durable", "durable_per_s"),
        ):
            row[name] = spread([turn[key] for turn in turns])
        rows.append(row)
    return rows


def measure_survivors() -> list[dict[str, Any]]:
    return [
        {
            "SIGKILL after 2,000 calls": tracker_name,
            "can be read afterwards": _survivors(tracker_name),
        }
        for tracker_name in RECORDERS
    ]


def _survivors(tracker_name: str) -> int:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.run(
            _command(tracker_name, folder, "die"), cwd=ROOT, capture_output=True
        )
        if process.returncode != -signal.SIGKILL:
            raise SystemExit(
                f"{tracker_name} ended before it was killed:\n{process.stderr.decode()[-2000:]}"
            )
        time.sleep(SETTLE_SECONDS)
        outputs = take(lambda: {tracker_name: _command(tracker_name, folder, "count")}, 1)
    survivors: int = outputs[tracker_name][0]["survivors"]
    return survivors


def _command(tracker_name: str, folder: str | Path, action: str) -> Command:
    command_for = ours if tracker_name == OURS else tracker
    return command_for("bench.emit.calls", tracker_name, str(folder), action)
