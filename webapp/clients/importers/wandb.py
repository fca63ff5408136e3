"""Weights & Biases: exported histories (CSV, JSON lines), charts, and files of offline runs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from webapp.clients.importers import tables, wandb_charts, wandb_offline
from webapp.clients.importers.imported_run import (
    ImportedLog,
    ImportedRun,
    LogSource,
    RowReader,
    UnreadableFile,
    checked_values,
    note_not_kept,
)
from webapp.clients.importers.restarts import mark_restarts
from webapp.clients.importers.wandb_offline import STEP, TIME
from webapp.clients.values import numbers

CLIENT = "wandb"
OFFLINE = ".wandb"
SUFFIXES = (OFFLINE, ".csv", ".jsonl")
NOT_METRICS = ("_runtime", "_wandb")
# Columns that the refusal of an unknown table names.
LISTED_COLUMNS = 8


def found(folder: Path) -> Iterator[ImportedRun]:
    """Every run in the files below `folder`. Raises UnreadableFile."""
    files = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    for file in files:
        if file.suffix.lower() == ".csv" and wandb_charts.is_chart(columns := tables.header(file)):
            yield from wandb_charts.runs_in(file, columns, CLIENT)
        elif file.suffix.lower() != OFFLINE:
            is_csv = file.suffix.lower() == ".csv"
            if not file.stat().st_size:
                raise UnreadableFile(f"{file.name} is empty; a history has a row for each step.")
            not_kept: set[str] = set()
            source = LogSource(
                partial(_logs, file, _history, not_kept),
                file,
                tables.head(file),
                is_csv=is_csv,
                not_kept=not_kept,
            )
            yield ImportedRun(CLIENT, "", file.stem, [source])
    offline = [file for file in files if file.suffix.lower() == OFFLINE]
    yield from wandb_offline.runs_in(offline, CLIENT, _logs)


def _history(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table, each with its step. Raises UnreadableFile."""
    for offset, row in tables.rows(file):
        if STEP not in row:
            names = ", ".join(list(row)[:LISTED_COLUMNS]) or "none"
            raise UnreadableFile(
                f"{file.name}: the row at byte {offset} has no {STEP}, so that its step is not "
                f"known; it has {names}. A history of W&B has the columns {STEP}, {TIME} and one "
                "for each metric. The CSV of a W&B chart has its x axis first and then columns "
                "named “<run> - <metric>”."
            )
        yield offset, row


def _logs(file: Path, rows: RowReader, not_kept: set[str]) -> Iterator[ImportedLog]:
    return mark_restarts(_values(file, rows, not_kept))


def _values(file: Path, rows: RowReader, not_kept: set[str]) -> Iterator[ImportedLog]:
    for row_number, (offset, row) in enumerate(rows(file)):
        step = row.pop(STEP, None)
        moment = row.pop(TIME, None)
        values, not_numbers = numbers(
            {name: value for name, value in row.items() if not name.startswith(NOT_METRICS)}
        )
        note_not_kept(not_kept, not_numbers)
        where = f"{file.name}: the row at byte {offset}"
        yield ImportedLog(
            offset,
            checked_values(
                values, row_number if step is None else step, 0 if moment is None else moment, where
            ),
        )
