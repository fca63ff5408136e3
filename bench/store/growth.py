"""`python -m bench growth`: append rate, read time and bytes per value as runs grow.

One run of ten keys grows to STILLROOM_BENCH_POINTS values (default 10^7); then many short runs, and
runs with different kinds of noise.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from bench.store import material, site

KEYS = [f"group/metric_{number}" for number in range(10)]
BATCH = 500
TIMES = 9


def measure() -> list[dict[str, Any]]:
    most = int(float(os.environ.get("STILLROOM_BENCH_POINTS", "1e7")))
    with site.database():
        return [*_one_run(most), *_short_runs(), *_noise()]


def _one_run(most: int) -> list[dict[str, Any]]:
    """One row per power of ten of values, measured when the run has reached it."""
    run, table_rows, step = material.new_run("long"), [], 0
    marks = [10**power for power in range(4, 12) if 10**power <= most]
    for points in marks:
        before, total_seconds, slowest = step, 0.0, 0.0
        while step < points // len(KEYS):
            rows = list(
                material.rows(KEYS, material.single, step, min(step + BATCH, points // len(KEYS)))
            )
            start = time.perf_counter()
            material.append(run, rows)
            duration = time.perf_counter() - start
            total_seconds, slowest = total_seconds + duration, max(slowest, duration)
            step += len(rows)
        rate = (step - before) * len(KEYS) / total_seconds
        table_rows.append(
            _row(
                "one run, 10 keys, float32 noise",
                run,
                points,
                rate,
                slowest,
                material.stored_bytes() / points,
            )
        )
        # The last rows take hours.
        print(table_rows[-1], file=sys.stderr, flush=True)
    _compact(run)
    return [
        *table_rows,
        _row(
            "the same, finished and compacted",
            run,
            marks[-1],
            None,
            None,
            material.stored_bytes() / marks[-1],
        ),
    ]


def _short_runs() -> list[dict[str, Any]]:
    keys, runs, steps = [f"group/metric_{number}" for number in range(500)], 50, 200
    empty, spent, slowest = material.stored_bytes(), 0.0, 0.0
    for number in range(runs):
        run = material.new_run("short")
        for start in range(0, steps, 20):
            rows = list(material.rows(keys, material.single, start, start + 20, seed=number))
            began = time.perf_counter()
            material.append(run, rows)
            took = time.perf_counter() - began
            spent, slowest = spent + took, max(slowest, took)
        _compact(run)
    points = runs * steps * len(keys)
    size = (material.stored_bytes() - empty) / points
    return [
        _row(
            f"{runs} finished runs × 500 keys × 200 points, float32 noise",
            run,
            points,
            points / spent,
            slowest,
            size,
        )
    ]


def _noise() -> list[dict[str, Any]]:
    table_rows = []
    for name, values in material.KINDS.items():
        for keys in (KEYS[:1], KEYS):
            empty, run = material.stored_bytes(), material.new_run(name)
            for start in range(0, 100_000, 5000):
                material.append(run, list(material.rows(keys, values, start, start + 5000)))
            _compact(run)
            points = 100_000 * len(keys)
            size = (material.stored_bytes() - empty) / points
            table_rows.append(
                _row(
                    f"finished, 100,000 steps × {len(keys)} keys, {name}",
                    run,
                    points,
                    None,
                    None,
                    size,
                )
            )
    return table_rows


def _compact(run: Any) -> None:
    from webapp.series import series_store

    series_store.compact(run)


def _row(
    label: str, run: Any, points: int, rate: float | None, slowest: float | None, size: float
) -> dict[str, Any]:
    return {
        "what": label,
        "values": f"{points:,}",
        "appended/s": "" if rate is None else f"{rate:,.0f}",
        "slowest append, ms": "" if slowest is None else round(1000 * slowest),
        "one series at 1,000 px, ms": _read_ms(run, KEYS[:1]),
        "B per value": round(size, 2),
    }


def _read_ms(run: Any, keys: Sequence[str]) -> float:
    from webapp.series import series_store

    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        series_store.read([run], keys, width=1000)
        times.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(times), 1)
