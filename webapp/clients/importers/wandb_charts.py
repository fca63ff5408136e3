"""Charts of Weights & Biases that were exported as CSV: the curves of one or several runs.

The first column is the chart's x axis. Every other one is named `<run> - <key>`; beside it W&B
writes `…__MIN` and `…__MAX`, the extremes of the points that it has combined into one. Runs of the
same name have columns of the same name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from webapp.clients.importers import tables
from webapp.clients.importers.imported_run import (
    ImportedLog,
    ImportedRun,
    LogSource,
    UnreadableFile,
    checked_values,
    note_not_kept,
)
from webapp.clients.importers.restarts import mark_restarts
from webapp.clients.values import numbers

SEPARATOR = " - "
EXTREMES = ("__MIN", "__MAX")
STEP, TIME = "_step", "_timestamp"
# X axes whose values are no steps.
TIME_AXES = ("relative time", "wall time", TIME, "_runtime")
NOT_METRICS = (STEP, TIME, "_runtime", "_wandb")
# The file is read once for each run.
MOST_RUNS = 500


def is_chart(columns: Sequence[str]) -> bool:
    """Return whether a table with these columns is an exported chart."""
    return len(columns) > 1 and all(SEPARATOR in column for column in columns[1:])


def runs_in(file: Path, columns: Sequence[str], client: str) -> Iterator[ImportedRun]:
    """Every run of an exported chart with that header. Raises UnreadableFile."""
    keys_by_run: dict[str, dict[str, str]] = defaultdict(dict)
    # The rows of a table have names that differ, so that no column is lost.
    for name, column in list(zip(columns, tables.different(columns), strict=True))[1:]:
        run, key = _run_and_key(name, set(columns))
        keys_by_run[run + column.removeprefix(name)][column] = key
    if len(keys_by_run) > MOST_RUNS:
        raise UnreadableFile(
            f"{file.name} has the curves of {len(keys_by_run):,} runs; a chart may have "
            f"{MOST_RUNS:,}. Export it in several parts."
        )
    for run, key_by_column in keys_by_run.items():
        if STEP not in key_by_column.values() and columns[0].lower().startswith(TIME_AXES):
            raise UnreadableFile(
                f"{file.name} has no steps: its first column is {columns[0]!r}. Choose the step as "
                "the x axis of the chart, and export it again."
            )
        not_kept: set[str] = set()
        logs = partial(_logs, file, columns[0], key_by_column, not_kept)
        source = LogSource(logs, file, part=run, is_csv=True, not_kept=not_kept)
        yield ImportedRun(client, "", run, [source])


def _run_and_key(name: str, names: set[str]) -> tuple[str, str]:
    """Return the run and the key of a column; a name of a run may have the separator in it."""
    before, _, key = name.rpartition(SEPARATOR)
    # “a - loss - smoothed” beside “a - loss” is another curve of the run a.
    if before in names and SEPARATOR in before:
        run, outer = _run_and_key(before, names)
        return run, f"{outer}{SEPARATOR}{key}"
    return before, key


def _logs(
    file: Path, x_axis: str, key_by_column: Mapping[str, str], not_kept: set[str]
) -> Iterator[ImportedLog]:
    return mark_restarts(_values(file, x_axis, key_by_column, not_kept))


def _values(
    file: Path, x_axis: str, key_by_column: Mapping[str, str], not_kept: set[str]
) -> Iterator[ImportedLog]:
    keys = set(key_by_column.values())
    for offset, row in tables.rows(file):
        cells = {key: row[column] for column, key in key_by_column.items() if column in row}
        # A run with a column of steps has its steps nowhere else.
        step = cells.pop(STEP, None) if STEP in keys else row.get(x_axis)
        moment = cells.pop(TIME, 0)
        # Of a point that is a single value, the extremes are this value again.
        values, not_numbers = numbers(
            {
                key: value
                for key, value in cells.items()
                if not key.startswith(NOT_METRICS)
                and not (key.endswith(EXTREMES) and value == cells.get(key[: -len("__MIN")]))
            }
        )
        note_not_kept(not_kept, not_numbers)
        if values:
            where = f"{file.name}: the row at byte {offset}"
            yield ImportedLog(offset, checked_values(values, step, moment, where))
