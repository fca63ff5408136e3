"""A wide writer, and what another writer notices of it.

    python -m bench.ingest.beside PROTOCOL HOST:PORT TOKEN OTHER_TOKEN SECONDS

The other writer sends a single metric of its own run at a steady pace, first alone, then beside the
wide one, which sends WIDE_STEPS values of each of WIDE_KEYS metrics and waits for each answer.
At the end it reads back some of the metrics of a run of HISTORY_KEYS metrics of HISTORY_STEPS
steps. Prints one line of JSON: milliseconds until an answer.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import time
import uuid
from collections.abc import Sequence
from typing import Any

from bench.ingest.writers import PROTOCOLS, TIMEOUT_SECONDS, Connection

WIDE_STEPS, WIDE_KEYS = 2, 500
HISTORY_STEPS, HISTORY_KEYS, HISTORIES_READ = 10, 1000, 100
# Between two requests of the other writer, as of a training loop that logs ten times a second.
PAUSE_SECONDS = 0.1


def send_wide(
    protocol: str, address: str, token: str, name: str, barrier: Any, stop: Any, results: Any
) -> None:
    """Send wide batches until `stop` is set; the first is not counted."""
    durations: list[float] = []
    try:
        # Once when this process has started, and once when the other writer is done alone.
        for _ in range(2):
            barrier.wait(TIMEOUT_SECONDS)
        send, _ = PROTOCOLS[protocol](Connection(address, token), name, WIDE_STEPS, WIDE_KEYS)
        send(0)
        while not stop.is_set():
            began = time.perf_counter()
            send(len(durations) + 1)
            durations.append(time.perf_counter() - began)
    finally:
        results.put(durations)


class SteadyWriter:
    """Sends a single value at a steady pace to a run of its own."""

    def __init__(self, protocol: str, address: str, token: str, name: str) -> None:
        self._send, _ = PROTOCOLS[protocol](Connection(address, token), name, 1, 1)
        self._number = 0
        self._send(0)

    def durations(self, seconds: float) -> list[float]:
        """Seconds until each answer, for `seconds`."""
        durations: list[float] = []
        began = time.perf_counter()
        while time.perf_counter() < began + seconds:
            due = began + len(durations) * PAUSE_SECONDS
            time.sleep(max(0.0, due - time.perf_counter()))
            sent = time.perf_counter()
            self._number += 1
            self._send(self._number)
            durations.append(time.perf_counter() - sent)
        return durations


def read_histories(protocol: str, address: str, token: str, name: str) -> list[float]:
    """Seconds until each answer with the values of one metric."""
    run = PROTOCOLS[protocol](Connection(address, token), name, 1, HISTORY_KEYS)
    for step in range(HISTORY_STEPS):
        run.send(step)
    durations: list[float] = []
    for key in range(0, HISTORY_KEYS, HISTORY_KEYS // HISTORIES_READ):
        began = time.perf_counter()
        answer = run.history(key)
        durations.append(time.perf_counter() - began)
        values = answer.count(b'"step"')
        if values != HISTORY_STEPS:
            raise SystemExit(f"{values} of {HISTORY_STEPS} values came back: {answer[:300]!r}")
    return durations


def main(protocol: str, address: str, token: str, other_token: str, seconds: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, stop, results = context.Barrier(2), context.Event(), context.Queue()
    turn = uuid.uuid4().hex[:6]
    # Ends with this process, also if the other writer fails.
    wide = context.Process(
        target=send_wide,
        args=(protocol, address, token, f"{turn}-wide", barrier, stop, results),
        daemon=True,
    )
    wide.start()
    # The wide process starts before: servers close a connection that is silent for some seconds.
    barrier.wait(TIMEOUT_SECONDS)
    other = SteadyWriter(protocol, address, other_token, f"{turn}-other")
    alone = other.durations(float(seconds))
    barrier.wait(TIMEOUT_SECONDS)
    beside = other.durations(float(seconds))
    stop.set()
    wide_durations = results.get()
    wide.join()
    if wide.exitcode:
        raise SystemExit("The wide writer failed; its output is above.")
    histories = read_histories(protocol, address, token, f"{turn}-history")
    print(
        json.dumps(
            {
                "wide_requests": len(wide_durations),
                "wide_p50_ms": statistics.median(wide_durations) * 1000,
                "wide_p95_ms": _p95(wide_durations),
                "alone_p95_ms": _p95(alone),
                "beside_p95_ms": _p95(beside),
                "history_p50_ms": statistics.median(histories) * 1000,
            }
        )
    )


def _p95(durations: Sequence[float]) -> float:
    return 1000 * sorted(durations)[int(0.95 * len(durations))]


if __name__ == "__main__":
    main(*sys.argv[1:])
