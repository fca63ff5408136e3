"""What a call of ten metrics costs the training loop, and what of 2,000 calls a `kill -9` leaves:
beside Trackio, W&B and MLflow.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.emit.recorders import RECORDERS
from bench.turns import ROOT, Command, ours, take, tracker

TURNS = 3
SETTLE_SECONDS = 5.0  # processes that a killed one leaves behind may still write
OURS = "Stillroom"


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as base:
        found = take(
            lambda: {who: _command(who, tempfile.mkdtemp(dir=base), "time") for who in RECORDERS},
            TURNS,
        )
    rows = []
    for who, turns in found.items():
        row: dict[str, Any] = {"ten metrics a call": who}
        for name, key in (
            ("p50 µs", "p50_us"),
            ("p99 µs", "p99_us"),
            ("points/s until durable", "durable_per_s"),
        ):
            values = [turn[key] for turn in turns]
            row[name] = {
                "median": statistics.median(values),
                "least": min(values),
                "most": max(values),
            }
        rows.append(row)
    return rows


def measure_survivors() -> list[dict[str, Any]]:
    return [
        {"SIGKILL after 2,000 calls": who, "can be read afterwards": _survivors(who)}
        for who in RECORDERS
    ]


def _survivors(who: str) -> int:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        died = subprocess.run(_command(who, folder, "die"), cwd=ROOT, capture_output=True)
        if died.returncode != -signal.SIGKILL:
            raise SystemExit(f"{who} ended before it was killed:\n{died.stderr.decode()[-2000:]}")
        time.sleep(SETTLE_SECONDS)
        found = take(lambda: {who: _command(who, folder, "count")}, 1)
    survivors: int = found[who][0]["survivors"]
    return survivors


def _command(who: str, folder: str | Path, what: str) -> Command:
    place = ours if who == OURS else tracker
    return place("bench.emit.calls", who, str(folder), what)
