"""`python -m bench [NAME …]`: measure, print a table and keep the figures in bench/results/."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before torch is imported: small networks are slower with more threads, and one is the fairest on a
# shared machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from bench import (
    divergence_memory,
    divergence_peers,
    imports,
    machine,
    paced,
    rollouts,
    served,
)
from bench.emit import compare as emitters
from bench.ingest import compare as ingest
from bench.live import measure as live
from bench.load import measure as load
from bench.runs_page import measure as runs_page
from bench.step import compare
from bench.store import charts, growth

Measurement = Callable[[], list[dict[str, Any]]]
MEASUREMENTS: dict[str, tuple[str, Measurement]] = {
    "rollouts": ("Rollouts per CPU second against transformers' generate", rollouts.measure),
    "tiny": ("On-policy distillation steps of the built-in pair against TRL", compare.measure_tiny),
    "middle": (
        "On-policy distillation steps, 50 million parameters of 120 million, against TRL",
        compare.measure_middle,
    ),
    "memory": (
        "Peak memory of a divergence with gradients, 151,936 × 2,048 × 896, float32",
        divergence_memory.measure,
    ),
    "peers": ("The same by what TRL and Liger bring", divergence_peers.measure),
    "paced": ("Tokens of a pass over a pool of which 40 % has pass rate 0 or 1", paced.measure),
    "emit": ("A call of ten metrics, against trackers", emitters.measure),
    "survivors": (
        "What a killed process had logged and can be read, against trackers",
        emitters.measure_survivors,
    ),
    "live": ("From a trainer's emit to the number on 200 open pages", live.measure),
    "load": (
        "Pages of 200 viewers beside 8 writers, without and with hostile uploads for a minute",
        load.measure,
    ),
    "series": ("A chart's data over HTTP, against trackers", charts.measure),
    "growth": ("What a stored value costs as a run grows", growth.measure),
    "ingest": (
        "Durable ingest over HTTP, 8 writers, 100 points a request, against trackers",
        ingest.measure,
    ),
    "wide": (
        "Batches of 1,000 values of 500 metrics, and another writer beside them",
        ingest.measure_wide,
    ),
    "imports": (
        "Importing one series from the files of other trackers, and importing the same file again",
        imports.measure,
    ),
    "runs-page": ("Pages of a team of many runs, one client, 200 requests each", runs_page.measure),
    "served": ("A teacher on a vLLM server beside the same teacher in the trainer", served.measure),
    "start": ("Start-up against TRL", compare.measure_start),
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"what to measure (default: all of {', '.join(MEASUREMENTS)})",
    )
    names = parser.parse_args().names or list(MEASUREMENTS)
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"there is no measurement {unknown[0]}; choose from {', '.join(MEASUREMENTS)}")
    torch.set_num_threads(1)
    RESULTS.mkdir(exist_ok=True)
    for name in names:
        title, measure = MEASUREMENTS[name]
        # Before the measurement, which would raise the load average itself.
        on = machine.description()
        rows = measure()
        (RESULTS / f"{name}.json").write_text(
            json.dumps({"title": title, "machine": on, "rows": rows}, indent=2) + "\n"
        )
        print(f"\n{title}\n{table(rows)}", flush=True)


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of equal keys as a Markdown table."""
    cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    return "\n".join(
        [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
    )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['median']:.2f} ({value['least']:.2f}–{value['most']:.2f})"
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 100
        else f"{value:.0f}"
        if isinstance(value, float)
        else str(value)
    )


if __name__ == "__main__":
    main()
