"""One contender in a process of its own: `python -m bench.emit.calls WHO FOLDER time | die |
count`; the last line printed is JSON.
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
    who, folder, what = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    begin, count = RECORDERS[who]
    if what == "count":
        print(json.dumps({"survivors": count(folder)}))
        return
    log, finish = begin(folder)
    if what == "die":
        for step in range(SURVIVORS):
            log(step, {"loss": step / 7})
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGKILL)
    taken = []
    calls = SLOW_CALLS if who == "MLflow, SQLite" else CALLS
    began = time.perf_counter()
    for step in range(calls):
        values = {f"metric/{number}": step / (number + 7) for number in range(METRICS)}
        before = time.perf_counter()
        log(step, values)
        taken.append(time.perf_counter() - before)
    finish()
    seconds = time.perf_counter() - began
    taken.sort()
    at = {"p50_us": taken[calls // 2] * 1e6, "p99_us": taken[calls * 99 // 100] * 1e6}
    print(json.dumps({**at, "durable_per_s": calls * METRICS / seconds}))


if __name__ == "__main__":
    main()
