"""`python -m bench runs-page`: the pages of a team that has many runs.

One client asks the web server over one connection, REQUESTS times after a warm-up, each time with
other limits, words and runs. STILLROOM_BENCH_RUNS is the number of runs (default 100,000), and
STILLROOM_BENCH_SECONDS the most time for the requests of one page on a busy machine (default 600).
STILLROOM_BENCH_DATA is a folder that keeps the runs: the first measurement fills it, later ones
only measure.
"""

from __future__ import annotations

import http.client
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import psutil

from bench.runs_page import kept_runs
from bench.runs_page.fill import SERIES, Filled
from bench.services import services, web_server

RUNS = int(os.environ.get("STILLROOM_BENCH_RUNS", "100000"))
SECONDS = float(os.environ.get("STILLROOM_BENCH_SECONDS", "600"))
REQUESTS, WARM_UP = 200, 10
SEED = 20
DATA = os.environ.get("STILLROOM_BENCH_DATA")
# The width in pixels that a run's page asks for.
WIDTH = 1000
# A request of the random generator and what is in the tables.
Make = Callable[[np.random.Generator, Filled], str]


def measure() -> list[dict[str, Any]]:
    data = kept_runs.folder(Path(DATA)) if DATA else None
    with services(data) as state:
        import django

        django.setup()
        filled, filled_s = kept_runs.filled(data, RUNS, SEED)
        with web_server(state / "web.log") as (address, _):
            rows = []
            for name, make in REQUESTED.items():
                rows.append(_row(name, *_measured(address, filled, make)))
                # The last pages come after many minutes.
                print(rows[-1], file=sys.stderr, flush=True)
    return [{**row, "runs": RUNS, "filled in s": filled_s} for row in rows]


def _list(**query: Any) -> str:
    return f"/?{urlencode(query, doseq=True)}"


def _sorted_by(*sorts: str) -> Make:
    return lambda chance, filled: _list(sort=str(chance.choice(sorts)))


def _limits(chance: np.random.Generator, filled: Filled) -> str:
    return _list(
        q=f"state:completed recipe:paced pass_rate>{chance.uniform(0.3, 0.9):.3f}",
        sort=str(chance.choice(["loss", "-loss", "-pass_rate", "eval/figure_17"])),
        column=["state", "pass_rate", "loss", "lr"],
    )


def _few(chance: np.random.Generator, filled: Filled) -> str:
    return _list(
        q=f"state:failed lr<1e-3 pass_rate>{chance.uniform(0.995, 0.999):.4f}", sort="-loss"
    )


def _deep(chance: np.random.Generator, filled: Filled) -> str:
    return _list(sort="loss", after=f"number.1.{float(chance.uniform(0.2, 0.8)).hex()}")


def _group(filter: str) -> Make:
    return lambda chance, filled: _list(
        q=filter and filter.format(chance.uniform(0.85, 0.9)),
        group="lr",
        column=["loss", "pass_rate"],
    )


def _compared(count: int) -> Make:
    return lambda chance, filled: f"/compare/?runs={_runs(chance, filled, count)}"


def _curves(count: int) -> Make:
    keys = urlencode([("key", key) for key in SERIES[:4]])
    return lambda chance, filled: (
        f"/compare/series.json?runs={_runs(chance, filled, count)}&axis=step&{keys}"
    )


def _runs(chance: np.random.Generator, filled: Filled, count: int) -> str:
    return ",".join(chance.choice(filled.ids, count, replace=False).tolist())


def _long_chart(chance: np.random.Generator, filled: Filled) -> str:
    keys = urlencode([("key", key) for key in SERIES[:4]])
    return f"/runs/{filled.long_run}/series.json?axis=step&width={WIDTH}&{keys}"


REQUESTED: dict[str, Make] = {
    "newest runs": lambda chance, filled: _list(),
    "one sort, three filters": _limits,
    "three filters that few runs pass": _few,
    "sorted by a figure": _sorted_by("loss", "-loss", "-pass_rate", "eval/figure_17"),
    "sorted by a setting": _sorted_by("lr", "-lr", "objective", "-objective"),
    "a page in the middle of a sort": _deep,
    "a saved view": lambda chance, filled: f"/views/{filled.view}/",
    "a word of one run": lambda chance, filled: _list(q=f"run-{chance.integers(RUNS):06d}"),
    "a word of some settings": lambda chance, filled: _list(
        q=str(chance.choice(["forward", "adapter_off", "top", "tuned"]))
    ),
    "two words of settings, and a sort": lambda chance, filled: _list(
        q="solution adapter_off", sort="-loss"
    ),
    "a word of every run, and a sort": lambda chance, filled: _list(q="run", sort="-loss"),
    "grouped by a setting, a tenth of the runs": _group("pass_rate>{:.3f} state:completed"),
    "grouped by a setting, all runs": _group(""),
    "names for the filter": lambda chance, filled: "/runs/completions.json",
    "values for the filter": lambda chance, filled: (
        f"/runs/completions.json?name={chance.choice(['objective', 'recipe', 'tag'])}"
    ),
    "20 runs compared": _compared(20),
    "their charts": _curves(20),
    "100 runs compared": _compared(100),
    "charts of 100 runs": _curves(100),
    "charts of a run of 1,000,000 steps": _long_chart,
}


def _measured(address: str, filled: Filled, make: Make) -> tuple[list[float], float]:
    """Return the seconds of each request, and the average CPU seconds of all processes for one."""
    seconds: list[float] = []
    spent, deadline = 0.0, time.monotonic() + SECONDS
    for number, path in enumerate(_paths(filled, make)):
        if number == WARM_UP:
            spent = _cpu_seconds()
        duration = _ask(address, filled.cookie, path)
        if number >= WARM_UP:
            seconds.append(duration)
        if len(seconds) > 1 and time.monotonic() > deadline:
            break
    return seconds, (_cpu_seconds() - spent) / len(seconds)


def _paths(filled: Filled, make: Make) -> Iterator[str]:
    chance = np.random.default_rng(SEED)
    return (make(chance, filled) for _ in range(WARM_UP + REQUESTS))


def _cpu_seconds() -> float:
    """Return the CPU seconds of the web server, Postgres and Redis.

    They tell what a page costs also where the machine is busy with something else.
    """
    times = (process.cpu_times() for process in psutil.Process().children(recursive=True))
    return sum(time.user + time.system for time in times)


_connections: dict[str, http.client.HTTPConnection] = {}


def _ask(address: str, cookie: str, path: str) -> float:
    """Return the seconds until the whole page was read; a redirection is followed."""
    connection = _connections.setdefault(address, http.client.HTTPConnection(address))
    began = time.perf_counter()
    while True:
        connection.request("GET", path, headers={"Cookie": cookie})
        response = connection.getresponse()
        content = response.read()
        if response.status != 302:
            break
        path = response.headers["Location"]
    seconds = time.perf_counter() - began
    assert response.status == 200, (response.status, path, content[:2000])
    return seconds


def _row(name: str, seconds: Sequence[float], cpu_seconds: float) -> dict[str, Any]:
    times = [1000 * second for second in seconds]
    return {
        "page": name,
        "requests": len(times),
        "median ms": round(statistics.median(times), 1),
        "p95 ms": round(statistics.quantiles(times, n=20)[-1], 1),
        "most ms": round(max(times), 1),
        "CPU ms": round(1000 * cpu_seconds, 1),
    }
