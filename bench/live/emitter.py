"""A trainer that only logs: ten metrics per call, one of which is the time of the emit.

python -m bench.live.emitter FOLDER SECONDS PER_SECOND
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from trainer.events import EventLog

KEYS = [f"metric/{i}" for i in range(9)]
EMITTED = "emitted_at"


def emit(folder: Path, seconds: float, per_second: float) -> None:
    log = EventLog(folder / "events", attempt=1)
    start = time.monotonic()
    for step in range(1, round(seconds * per_second) + 1):
        # From the start and not from the last emit, so that delays do not add up.
        time.sleep(max(0.0, start + step / per_second - time.monotonic()))
        values = {key: step + i / 7 for i, key in enumerate(KEYS)} | {EMITTED: time.time()}
        log.emit(
            "metrics",
            step=step,
            stage="forward",
            tokens=100 * step,
            compute=1e9 * step,
            values=values,
        )
    log.emit("end", outcome="completed", reason="All steps are done.", remedy="")
    log.close()


if __name__ == "__main__":
    emit(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
