"""`python -m bench [rollouts] [step] [memory]`: measure, print a table and keep the figures in bench/results/."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before torch is imported: small networks are slower with more threads, and one is the fairest on a shared machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from bench import divergence_memory, machine, rollouts, training_step

Measurement = Callable[[], list[dict[str, Any]]]
MEASUREMENTS: dict[str, tuple[str, Measurement]] = {
    "rollouts": ("Rollouts per CPU second against transformers' generate", rollouts.measure),
    "step": ("CPU seconds of one training step against plain transformers", training_step.measure),
    "memory": ("Peak memory of a divergence with gradients, 151,936 × 2,048 × 896, float32", divergence_memory.measure),
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure (default: all of {', '.join(MEASUREMENTS)})")
    names = parser.parse_args().names or list(MEASUREMENTS)
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"there is no measurement {unknown[0]}; choose from {', '.join(MEASUREMENTS)}")
    torch.set_num_threads(1)
    RESULTS.mkdir(exist_ok=True)
    for name in names:
        title, measure = MEASUREMENTS[name]
        on = machine.description()
        rows = measure()
        (RESULTS / f"{name}.json").write_text(json.dumps({"title": title, "machine": on, "rows": rows}, indent=2) + "\n")
        print(f"\n{title}\n{table(rows)}", flush=True)


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of equal keys as a Markdown table."""
    cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['median']:.2f} ({value['least']:.2f}–{value['most']:.2f})"
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 100 else f"{value:.0f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
