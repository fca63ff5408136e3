"""Runs a recipe's CPU preset, cut down to twenty steps, and reads every number of its event log.

Nothing of the project is imported here, so that modules can be renamed and moved. What is used
stays the same in a refactoring: the command line `python -m trainer`, the fields of a run
definition (`cut`), and the keys of the event log (`docs/events.md`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
TRAINER = (sys.executable, "-m", "trainer")

PRESET = "small"
STEPS = 20
EVALUATE_EVERY = 8  # at steps 8 and 16: of two equal stages, one evaluation falls into each
LIMIT_SECONDS = 1200  # a run takes about 20 s on an idle core; this is for a busy machine

# One thread, because the order of a sum over several is not fixed; no GPU, whose kernels differ.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}

EVENT_TYPES = (
    "metrics",
    "problems",
    "evaluation",
    "calibration",
    "privileged",
    "token_regions",
    "pipeline",
    "snr",
    "rollouts",
)
# Metrics that differ between two runs of one definition on one machine, by the start of their key.
EXCLUDED = {
    "time/": "seconds that a step or one of its phases took",
    "time_share/": "those seconds as shares of the step",
    "tokens_per_second": "tokens divided by those seconds",
    "memory/": "bytes that the process holds, which the allocator decides",
}
# Text fields that tell events of one type apart; they become part of the key.
LABELS = ("reason", "when", "role", "readout", "stage")
# `file` holds the hash of a side table, which depends on the version of the library that writes it.
NOT_NUMBERS = {"v", "attempt", "seq", "wall_time", "monotonic", "type", "step", "file", *LABELS}
NOT_FINITE = {
    "NaN",
    "Infinity",
    "-Infinity",
}  # JSON has no others, so the log writes them as strings

Value = int | float | str | None


@dataclass(frozen=True)
class Reading:
    """What an event says under one key: a number, or all numbers of a list in their order."""

    step: int
    values: tuple[Value, ...]


Numbers = dict[str, list[Reading]]


class RunError(Exception):
    """A command of the trainer failed; the message holds the end of its output."""


def recipes() -> list[str]:
    """Names of all recipes, as the trainer lists them: one `name: title` per line."""
    return [line.partition(":")[0] for line in _trainer("recipes").splitlines() if ":" in line]


def run(recipe: str) -> Numbers:
    """Run the cut preset of a recipe in a temporary folder. Raises RunError if the run fails."""
    definition = cut(yaml.safe_load(_trainer("recipes", recipe, "--preset", PRESET)))
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        spec, run_dir = Path(folder) / "spec.yaml", Path(folder) / "run"
        spec.write_text(yaml.safe_dump(definition, sort_keys=False), encoding="utf-8")
        _trainer("run", str(spec), "--dir", str(run_dir))
        return read_numbers(run_dir / "attempts" / "1" / "events")


def cut(definition: dict[str, Any]) -> dict[str, Any]:
    """The same run with fewer steps and problems; step size, models and objective are unchanged."""
    stages = definition["stages"]
    for stage in stages:
        stage["until"]["steps"] = STEPS // len(stages)
    data, pool = definition["data"], definition["pool"]
    # A pool that is measured before training (stage 0) keeps only problems of the frontier.
    data["train"]["count"] = 300 if pool["estimate"] == "never" else 400
    if data["retained"]:
        data["retained"]["count"] = 50
    pool["track_problems"] = min(pool["track_problems"], 16)
    definition["evaluation"] |= {"every": EVALUATE_EVERY, "problems": 50}
    definition["compute"] |= {"device": "cpu", "threads": 1}
    return definition


def read_numbers(folder: Path) -> Numbers:
    """Every number of an event log by key, in the order of the log, without EXCLUDED metrics."""
    numbers: Numbers = {}
    for path in sorted(folder.glob("[0-9]*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["type"] in EVENT_TYPES:
                for key, values in _readings(event):
                    numbers.setdefault(key, []).append(Reading(event["step"], values))
    return numbers


def _readings(event: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Value, ...]]]:
    """Metrics under their own keys; a field of another event as `type[labels].field`."""
    if event["type"] == "metrics":
        totals = {"tokens": event["tokens"], "compute": event["compute"]}
        for key, value in {**event["values"], **totals}.items():
            if not key.startswith(tuple(EXCLUDED)):
                yield key, (value,)
        return
    labels = ",".join(event[name] for name in LABELS if name in event)
    for field, value in event.items():
        if field not in NOT_NUMBERS and (values := tuple(_flat(value))):
            yield f"{event['type']}[{labels}].{field}", values


def _flat(value: Any) -> Iterator[Value]:
    """All numbers in a JSON value, depth first, mappings by sorted keys; null becomes None."""
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _flat(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, bool):
        yield int(value)
    elif value is None or isinstance(value, int | float) or value in NOT_FINITE:
        yield value


def _trainer(*arguments: str) -> str:
    """Standard output of a command of the trainer, run at the root of this clone."""
    done = subprocess.run(
        [*TRAINER, *arguments],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    if done.returncode:
        command = " ".join(("python -m trainer", *arguments))
        raise RunError(f"`{command}` ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
