"""MLflow's folder `mlruns`, and metric histories as CSV (run_id, key, value, step, timestamp).

Below `mlruns` an experiment has a `meta.yaml` and its runs; a run has a `meta.yaml`, and one file
per metric (lines of time, value, step), parameter and tag. Points count by their content, as when
MLflow's client logs them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from webapp.clients.client_batch import key
from webapp.clients.importers import tables
from webapp.clients.importers.imported_run import (
    ImportedRun,
    LogAtOffset,
    LogSource,
    UnreadableFile,
    checked_values,
)
from webapp.runs.models import State

CLIENT = "mlflow"
# By the number in MLflow's enumeration and by its name. No other status is an end.
STATUSES = {
    "3": State.COMPLETED,
    "FINISHED": State.COMPLETED,
    "4": State.FAILED,
    "FAILED": State.FAILED,
}
# Rows in memory at once, over all runs of a table.
MOST_ROWS = 50_000
# Characters of a line that are looked at: a time, a value and a step take less than 100.
LONGEST_LINE = 1000
COLUMNS = {"key", "value", "step", "timestamp"}


def found(folder: Path) -> Iterator[ImportedRun]:
    """Every run below `folder`. Raises UnreadableFile."""
    for meta in sorted(folder.rglob("meta.yaml")):
        if (meta.parent / "metrics").is_dir():
            yield _run(meta.parent, _meta(meta))
    for file in sorted(folder.rglob("*.csv")):
        yield from _table(file)


def _run(run_folder: Path, meta: dict[str, Any]) -> ImportedRun:
    experiment_file = run_folder.parent / "meta.yaml"
    project = str(_meta(experiment_file).get("name") or "") if experiment_file.is_file() else ""
    facts: dict[str, dict[str, str]] = {
        kind: _texts(run_folder / kind) for kind in ("params", "tags")
    }
    name = str(meta.get("run_name") or facts["tags"].get("mlflow.runName") or run_folder.name)
    state = STATUSES.get(str(meta.get("status")))
    # No head: values count by their content, so that an imported folder and a run that MLflow's
    # client logs here are recorded in the same way.
    sources = [LogSource(None, partial(_logs, run_folder / "metrics"))]
    return ImportedRun(
        CLIENT,
        str(meta.get("run_id") or run_folder.name),
        name,
        sources,
        project,
        state=state,
        **facts,
    )


def _logs(folder: Path) -> Iterator[LogAtOffset]:
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        with file.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                where = f"metrics/{name}: line {number}"
                fields = line[:LONGEST_LINE].split()
                try:
                    moment, value, step = (
                        int(fields[0]),
                        float(fields[1]),
                        int(fields[2]) if len(fields) > 2 else 0,
                    )
                except (ValueError, IndexError) as problem:
                    raise UnreadableFile(f"{where} is not a time, a value and a step.") from problem
                yield number, checked_values({key(name): value}, step, _seconds(moment), where)


def _table(file: Path) -> Iterator[ImportedRun]:
    """The runs of a table, in blocks of at most MOST_ROWS rows; a repeated run is continued."""
    names = {str(row.get("run_id", "")) for _, row in tables.rows(file)}
    unnamed = str(tables.head(file))
    rows = tables.rows(file)
    while chunk := list(islice(rows, MOST_ROWS)):
        logs: dict[str, list[LogAtOffset]] = defaultdict(list)
        for offset, row in chunk:
            where = f"{file.name}: the row at byte {offset}"
            if (
                not row.keys() >= COLUMNS
                or not isinstance(row["value"], int | float)
                or not isinstance(row["timestamp"], int | float)
            ):
                raise UnreadableFile(
                    f"{where} lacks a number or a name in {', '.join(sorted(COLUMNS))}."
                )
            run = str(row.get("run_id") or unnamed)
            logs[run].append(
                (
                    offset,
                    checked_values(
                        {key(str(row["key"])): float(row["value"])},
                        row["step"],
                        _seconds(row["timestamp"]),
                        where,
                    ),
                )
            )
        for run, run_logs in logs.items():
            yield ImportedRun(
                CLIENT,
                run,
                run if len(names) > 1 else file.stem,
                [LogSource(None, partial(iter, run_logs))],
            )


def _seconds(milliseconds: float) -> float:
    """A time in seconds; one beyond the range of floats becomes infinite instead of an overflow."""
    return milliseconds / 1000 if abs(milliseconds) < 2**63 else math.inf


def _meta(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise UnreadableFile(f"{file.parent.name}/{file.name} cannot be read as YAML.") from problem
    return content if isinstance(content, dict) else {}


def _texts(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8", errors="replace")[
            :8000
        ]
        for file in files
    }
