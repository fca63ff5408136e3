"""MLflow's folder `mlruns`, and metric histories as CSV (run_id, key, value, step, timestamp).

Below `mlruns` an experiment has a `meta.yaml` and its runs; a run has a `meta.yaml`, and one file
per metric (lines of time, value, step), parameter and tag. Points count by their content, as when
MLflow's client logs them.

Metrics follow each other in these files, so that a restart of the run is found by time: all series
are read once for the times at which they go back, then once for each part between two restarts.
"""

from __future__ import annotations

import contextlib
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

from trainer import plain_yaml
from webapp.clients.client_batch import key
from webapp.clients.importers import tables
from webapp.clients.importers.imported_run import (
    ImportedLog,
    ImportedRun,
    LogSource,
    UnreadableFile,
    checked_values,
    media_file,
)
from webapp.clients.importers.restarts import GoneBack, Restart, SeriesSteps, restarts_of
from webapp.clients.limits import LONGEST_VALUE, MAX_PARAMS
from webapp.clients.run_files import MAX_FILES
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
# Characters of a line: a time, a value and a step take less than 100.
LONGEST_LINE = 1000
# Characters of a `meta.yaml`: MLflow writes less than 1,000 and the path of the artifacts.
LONGEST_META = 32 * 1024
# Runs of one table.
MOST_RUNS = 10_000
# Series, over all runs of a table, and their points that are compared to find restarts.
MOST_COMPARED = 200_000
COLUMNS = ("key", "value", "step", "timestamp")


def found(folder: Path) -> Iterator[ImportedRun]:
    """Every run below `folder`. Raises UnreadableFile."""
    for meta in sorted(folder.rglob("meta.yaml")):
        if meta.is_file() and (meta.parent / "metrics").is_dir():
            yield _run(meta.parent, _meta(meta))
    # A folder may have such a name too.
    for file in sorted(path for path in folder.rglob("*.csv") if path.is_file()):
        yield from _table(file)


def _run(run_folder: Path, meta: dict[str, str]) -> ImportedRun:
    experiment_file = run_folder.parent / "meta.yaml"
    project = _meta(experiment_file).get("name", "") if experiment_file.is_file() else ""
    facts: dict[str, dict[str, str]] = {
        kind: _texts(run_folder / kind) for kind in ("params", "tags")
    }
    name = meta.get("run_name") or facts["tags"].get("mlflow.runName") or run_folder.name
    state = STATUSES.get(meta.get("status", ""))
    # No file: values count by their content, so that an imported folder and a run that MLflow's
    # client logs here are recorded in the same way.
    sources = [LogSource(_InParts(partial(_logs, run_folder / "metrics")).logs)]
    artifacts = run_folder / "artifacts"
    files = [
        media_file(artifacts, path.relative_to(artifacts).as_posix())
        for path in islice(sorted(artifacts.rglob("*")), MAX_FILES)
    ]
    return ImportedRun(
        CLIENT,
        meta.get("run_id") or run_folder.name,
        name,
        sources,
        project,
        params=facts["params"],
        tags=facts["tags"],
        state=state,
        files=[file for file in files if file is not None],
    )


def _logs(folder: Path) -> Iterator[ImportedLog]:
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        with file.open(encoding="utf-8", errors="replace") as stream:
            # A file of one endless line is read piece by piece too.
            for number, line in enumerate(iter(partial(stream.readline, LONGEST_LINE), ""), 1):
                where = f"metrics/{name}: line {number}"
                try:
                    moment, value, step = _point(line.split())
                except ValueError as problem:
                    raise UnreadableFile(f"{where} is not a time, a value and a step.") from problem
                yield ImportedLog(
                    number, checked_values({key(name): value}, step, _seconds(moment), where)
                )


def _point(fields: Sequence[str]) -> tuple[int, float, int]:
    """Return the time in milliseconds, the value and the step of a line. Raises ValueError."""
    if len(fields) < 2:
        raise ValueError("a time and a value are missing")
    return int(fields[0]), float(fields[1]), int(fields[2]) if len(fields) > 2 else 0


@dataclass
class _InParts:
    """Logs of one run, in the order of its restarts, each of which begins with its lowest step."""

    read: Callable[[], Iterator[ImportedLog]]

    @cached_property
    def restarts(self) -> list[Restart]:
        gone_back: list[GoneBack[ImportedLog]] = []
        # Damaged lines are reported by `logs`, after the values before them.
        with contextlib.suppress(UnreadableFile):
            rows = (("", row) for row in self.read())
            gone_back.extend(back for _, back in islice(_gone_back(rows), MOST_COMPARED))
        return restarts_of(gone_back)

    def logs(self) -> Iterator[ImportedLog]:
        times = [restart.time for restart in self.restarts]
        for part in range(len(times) + 1):
            if part:
                # Again below, where it counts no second time: the lowest step must come first.
                yield self.restarts[part - 1].rows[0]._replace(resumes=True)
            yield from (
                row for row in self.read() if bisect_right(times, row.log.wall_time) == part
            )


def _gone_back(
    rows: Iterable[tuple[str, ImportedLog]],
) -> Iterator[tuple[str, GoneBack[ImportedLog]]]:
    """Yield where series of a run go back to an earlier step, with the name of the run."""
    steps_by_series: dict[tuple[str, str], SeriesSteps[ImportedLog]] = {}
    for run, row in rows:
        step, time = row.log.step or 0, row.log.wall_time
        for name in row.log.values:
            series = steps_by_series.get((run, name))
            if series is None:
                if len(steps_by_series) < MOST_COMPARED:
                    steps_by_series[run, name] = SeriesSteps(step, time)
            elif gone_back := series.add(step, time, row, is_repeated=False):
                yield run, gone_back


def _table(file: Path) -> Iterator[ImportedRun]:
    """The runs of a table, in blocks of at most MOST_ROWS rows; a repeated run is continued."""
    missing = [name for name in COLUMNS if name not in tables.header(file)]
    if missing:
        raise UnreadableFile(
            f"{file.name} has no column {', '.join(missing)}. A metric history of MLflow has the "
            f"columns {', '.join(COLUMNS)}, and run_id if it has several runs."
        )
    names, head = _names_of_runs(file), tables.head(file)
    gone_back: dict[str, list[GoneBack[ImportedLog]]] = defaultdict(list)
    for run, back in islice(_gone_back(_table_rows(file)), MOST_COMPARED):
        gone_back[run].append(back)
    restarts = {run: restarts_of(of_run) for run, of_run in gone_back.items()}
    for part in range(1 + max(map(len, restarts.values()), default=0)):
        rows = _rows_of_part(file, restarts, part)
        while chunk := list(islice(rows, MOST_ROWS)):
            logs: dict[str, list[ImportedLog]] = defaultdict(list)
            for run, row in chunk:
                logs[run].append(row)
            for run, run_logs in logs.items():
                name = run if run and len(names) > 1 else file.stem
                source = LogSource(
                    partial(iter, run_logs), None if run else file, head, by_content=True
                )
                yield ImportedRun(CLIENT, run, name, [source])


def _names_of_runs(file: Path) -> set[str]:
    names: set[str] = set()
    for run, _ in _table_rows(file):
        names.add(run)
        if len(names) > MOST_RUNS:
            raise UnreadableFile(
                f"{file.name} has more than {MOST_RUNS:,} runs; divide it into several files."
            )
    return names


def _rows_of_part(
    file: Path, restarts: Mapping[str, list[Restart]], part: int
) -> Iterator[tuple[str, ImportedLog]]:
    """The rows between two restarts of their run, the lowest step after the restart first."""
    times = {run: [restart.time for restart in of_run] for run, of_run in restarts.items()}
    for run, of_run in restarts.items():
        if 0 < part <= len(of_run):
            yield run, of_run[part - 1].rows[0]._replace(resumes=True)
    for run, row in _table_rows(file):
        if bisect_right(times.get(run, ()), row.log.wall_time) == part:
            yield run, row


def _table_rows(file: Path) -> Iterator[tuple[str, ImportedLog]]:
    """Each row with the name of its run, empty if the table names none."""
    for offset, row in tables.rows(file):
        where = f"{file.name}: the row at byte {offset}"
        if (
            not row.keys() >= set(COLUMNS)
            or not isinstance(row["value"], int | float)
            or not isinstance(row["timestamp"], int | float)
        ):
            raise UnreadableFile(f"{where} lacks a number or a name in {', '.join(COLUMNS)}.")
        log = checked_values(
            {key(str(row["key"])): float(row["value"])},
            row["step"],
            _seconds(row["timestamp"]),
            where,
        )
        yield str(row.get("run_id", "")), ImportedLog(offset, log)


def _seconds(milliseconds: float) -> float:
    """A time in seconds; one beyond the range of floats becomes infinite instead of an overflow."""
    return milliseconds / 1000 if abs(milliseconds) < 2**63 else math.inf


def _meta(file: Path) -> dict[str, str]:
    """Return the texts by name in a `meta.yaml`. Raises UnreadableFile."""
    try:
        content = plain_yaml.load(
            _start_of(file, LONGEST_META + 1, "strict"), LONGEST_META, as_text=True
        )
    except ValueError as problem:
        raise UnreadableFile(
            f"{file.parent.name}/{file.name} cannot be read as YAML: {problem}."
        ) from problem
    facts = content if isinstance(content, dict) else {}
    # Of a list or a mapping under a name, nothing is used.
    return {name: text for name, text in facts.items() if isinstance(text, str)}


def _texts(folder: Path) -> dict[str, str]:
    """Return the parameters or tags in a folder, each of which is a file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    # What exceeds the limit of a run is named and not kept.
    return {
        file.relative_to(folder).as_posix(): _start_of(file, LONGEST_VALUE, "replace")
        if index < MAX_PARAMS
        else ""
        for index, file in enumerate(files)
    }


def _start_of(file: Path, characters: int, errors: str) -> str:
    with file.open(encoding="utf-8", errors=errors) as stream:
        return stream.read(characters)
