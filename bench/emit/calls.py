"""One tracker in a separate process: `python -m bench.emit.calls TRACKER FOLDER time|die|count`.

The last line of its output is JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from bench.emit.recorders import RECORDERS

METRICS = 10
CALLS, SLOW_CALLS = 2_000, 100
SURVIVORS = 2_000


def main() -> None:
    tracker, folder, action = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    begin, count = RECORDERS[tracker]
    if action == "count":
        print(json.dumps({"survivors": count(folder)}))
        return
    log, finish = begin(folder)
    if action == "die":
        for step in range(SURVIVORS):
            log(step, {"loss": step / 7})
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGKILL)
    durations = []
    # There a call takes about 12 ms, so 2,000 would take 24 s in each turn.
    calls = SLOW_CALLS if tracker == "MLflow, SQLite" else CALLS
    start = time.perf_counter()
    for step in range(calls):
        values = {f"metric/{number}": step / (number + 7) for number in range(METRICS)}
        before = time.perf_counter()
        log(step, values)
        durations.append(time.perf_counter() - before)
    finish()
    seconds = time.perf_counter() - start
    durations.sort()
    percentiles = {
        "p50_us": durations[calls // 2] * 1e6,
        "p99_us": durations[calls * 99 // 100] * 1e6,
    }
    print(json.dumps({**percentiles, "durable_per_s": calls * METRICS / seconds}))


if __name__ == "__main__":
    main()
