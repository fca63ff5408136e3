"""Import of runs from the files that other trackers keep or export.

A value counts once by its file and its offset there, for MLflow by its content. So the same files
can be imported again: after they have grown, or after an interrupted import, only new values are
added. The read position is committed together with the values.

Where a process resumed the run at an earlier step, its values replace what the run had from there
on, as when clients log here: the first values after a restart are compared with the curves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from django.db import transaction

from webapp.access.models import Team, User
from webapp.clients import run_files, runs, summary
from webapp.clients.client_batch import ClientBatch, LoggedValues, RunAddress, cut, digest_id
from webapp.clients.importers import mlflow, recognition, tensorboard, wandb
from webapp.clients.importers.imported_run import (
    ImportedLog,
    ImportedRun,
    LogSource,
    UnreadableFile,
)
from webapp.clients.importers.known_files import KnownFiles
from webapp.clients.importers.stored_values import without_stored
from webapp.clients.models import ImportedFile, Receipt
from webapp.clients.record import record
from webapp.clients.run_files import FileRefused, refusal_line
from webapp.runs import status_text
from webapp.runs.event_rows import storable
from webapp.runs.models import Run, State
from webapp.series import series_store

__all__ = [
    "ANY_FORMAT",
    "FORMATS",
    "READERS",
    "ImportedValues",
    "UnreadableFile",
    "import_runs",
    "imported_runs",
]

READERS: dict[str, Callable[[Path], Iterator[ImportedRun]]] = {
    "tensorboard": tensorboard.found,
    "wandb": wandb.found,
    "mlflow": mlflow.found,
}
# The format is recognised by the files.
ANY_FORMAT = ""
FORMATS = {
    "tensorboard": "TensorBoard event files",
    "wandb": "Weights & Biases: history as CSV or JSON lines, charts as CSV, or offline .wandb "
    "files",
    "mlflow": "MLflow: an mlruns folder, or metric histories as CSV",
}
# Logs, and values, of one transaction, so that a file of any length and width needs no more memory,
# and a broken import is continued close to where it stopped.
AT_ONCE = 2000
VALUES_AT_ONCE = 100_000
# The same where stored values must be read for a comparison with each part.
AT_ONCE_COMPARED = 50_000
TELL_SECONDS = 5.0
LONGEST_NAME = 250
Tell = Callable[[str], None]


class ImportedValues(NamedTuple):
    """A run and how many values an import has added to it."""

    run: Run
    new_values: int


def import_runs(
    folder: Path,
    format: str,
    team: Team,
    owner: User | None,
    project: str,
    tell: Tell = lambda text: None,
) -> list[Run]:
    """Import every run in the files below `folder`; `tell` gets the progress every few seconds.

    Raises UnreadableFile; values that were read before it stay.
    """
    imported = imported_runs(folder, format, team, owner, project, tell)
    return list({run.pk: run for run, _ in imported}.values())


def imported_runs(
    folder: Path,
    format: str,
    team: Team,
    owner: User | None,
    project: str,
    tell: Tell = lambda text: None,
) -> Iterator[ImportedValues]:
    """Import runs as `import_runs` does, and yield each; one in several files comes several times.

    `format` is one of FORMATS, or ANY_FORMAT. Raises UnreadableFile.
    """
    format = format or _recognised(folder)
    is_empty = True
    known_files: dict[tuple[str, str], KnownFiles] = {}
    try:
        for imported in READERS[format](folder):
            address = RunAddress(
                team.pk,
                owner.pk if owner else None,
                storable(imported.project or project),
                imported.client,
                storable(imported.key),
                storable(imported.name),
                Run.Source.IMPORTED,
            )
            place = address.project, address.client
            if place not in known_files:
                known_files[place] = KnownFiles(address)
            yield _bring(imported, address, known_files[place], tell)
            is_empty = False
    except (OSError, UnreadableFile) as problem:
        sentence = str(problem)
        if isinstance(problem, OSError):
            # Without the path, which may be that of a folder of the server.
            name = Path(problem.filename).name if problem.filename else "A file"
            sentence = f"{name} cannot be read: {problem.strerror or 'unknown reason'}."
        if not is_empty:
            sentence += " What was read before that is stored."
        raise UnreadableFile(sentence) from problem
    if is_empty:
        raise UnreadableFile(
            f"Nothing there looks like {FORMATS[format]}. If another tracker wrote the files, "
            "choose its format."
        )


def _recognised(folder: Path) -> str:
    if format := recognition.format_of(folder):
        return format
    raise UnreadableFile(
        f"None of the files looks like one of a known tracker: {'; '.join(FORMATS.values())}. "
        "Choose the format if you know it."
    )


def _bring(
    imported: ImportedRun, address: RunAddress, known: KnownFiles, tell: Tell
) -> ImportedValues:
    # A file that is refused at its first values leaves no empty run behind.
    for source in imported.sources:
        next(iter(source.logs()), None)
    files = [source for source in imported.sources if source.file is not None]
    run_id = known.run_of(files) if files else None
    if run_id is None:
        run_id = runs.at(address if imported.key else replace(address, key=known.key_of(files)))
    params, tags = (
        {cut(storable(name), LONGEST_NAME): storable(value) for name, value in facts.items()}
        for facts in (imported.params, imported.tags)
    )
    with transaction.atomic():
        record({run_id: [ClientBatch(address, params=params, tags=tags)]})
    had_values = bool(series_store.keys(Run(pk=run_id)))
    # First and last time of all values: only these two are kept, however long the files are.
    times: list[float] = []
    count, last_report = 0, time.monotonic()
    try:
        for source in imported.sources:
            imported_file = None if source.file is None else known.file_of(run_id, source)
            last_time = max(times, default=0.0)
            for logs in _recorded(run_id, address, source, imported_file, last_time, had_values):
                # 0 stands for an unknown time.
                times = [when for log in logs if (when := log.wall_time) > 0] + times
                times = [min(times), max(times)] if times else []
                count += sum(len(log.values) for log in logs)
                if time.monotonic() - last_report > TELL_SECONDS:
                    last_report = time.monotonic()
                    tell(
                        f"“{storable(imported.name)}”: {count:,} values so far, at step "
                        f"{logs[-1].step:,}."
                    )
    # Also after a damaged record: what was read before it stays, and needs its state and times.
    finally:
        run = _conclude(run_id, imported, times)
        _describe(run, address, imported)
    return ImportedValues(run, count)


def _describe(run: Run, address: RunAddress, imported: ImportedRun) -> None:
    """Store the files beside the values, and the names of what is not stored."""
    lines = []
    for file, logged in imported.files:
        try:
            with file.open("rb") as stream:
                run_files.put(run, logged, stream, file.stat().st_size)
        except FileRefused as problem:
            lines.append(refusal_line(run.public_id, logged.path, str(problem), logged.step))
    stored = set(run.files.filter(artifact__isnull=False).values_list("key", flat=True))
    not_kept = frozenset().union(*(source.not_kept for source in imported.sources)) - stored
    with transaction.atomic():
        record({run.pk: [ClientBatch(address, lines=lines, not_kept=not_kept)]})


def _recorded(
    run_id: int,
    address: RunAddress,
    source: LogSource,
    imported_file: ImportedFile | None,
    last_time: float,
    had_values: bool,
) -> Iterator[list[LoggedValues]]:
    """Yield each part of a file's logs that was not recorded before, after recording it.

    `last_time` is that of the values that were read from the run's other files; `had_values`: the
    run had some before this import.
    """
    run = Run.objects.only("attempt", "finished_at").get(pk=run_id)
    last_time = max(last_time, run.finished_at.timestamp() if run.finished_at else 0.0)
    done = 0 if imported_file is None or source.by_content else imported_file.done
    # Older versions kept a receipt for each log instead of the read position. Such a file continues
    # with receipts, because its position is not known.
    with_receipts = (
        imported_file is not None and not done and Receipt.objects.filter(run=run_id).exists()
    )
    # Equal values count once within an attempt. Those of earlier attempts would count again, and
    # those of an earlier import would be called new.
    compares = (imported_file is None or source.by_content) and (had_values or run.attempt > 1)
    for part in _parts(source.logs(), AT_ONCE_COMPARED if compares else AT_ONCE):
        new = [row for row in part if row.offset >= done]
        # The last row of a table that has grown since. If it was incomplete, it is replaced.
        if new and 0 < done == new[0].offset:
            is_stored = not without_stored(run, [new[0].log])
            new[:1] = [] if is_stored else [new[0]._replace(resumes=True)]
        if compares:
            new_logs = set(map(id, without_stored(run, [row.log for row in new])))
            new = [row for row in new if id(row.log) in new_logs]
        if not new:
            continue
        # A further file of a run is that of a process that resumed it, unless its first values are
        # from a time when another process was still logging.
        begins = imported_file is not None and not imported_file.done and not source.by_content
        first_time = new[0].log.wall_time
        resumes = new[0].resumes or (begins and not 0 < first_time < last_time)
        logs = [
            replace(log, id=digest_id(source.head, offset)) if with_receipts else log
            for offset, log, _ in new
        ]
        with transaction.atomic():
            recorded = record({run_id: [ClientBatch(address, logs, resumes=resumes)]})
            for run_attempt in recorded.long_tails:
                series_store.fold_long_tail(*run_attempt)
            # In the transaction of the values: a crash leaves both or neither.
            if imported_file is not None:
                imported_file.done = new[-1].offset + 1
                imported_file.save(update_fields=["done"])
        yield logs


def _parts(logs: Iterator[ImportedLog], longest: int) -> Iterator[list[ImportedLog]]:
    """Divide logs into parts of one transaction each; a restart begins a part.

    Raises UnreadableFile, after everything before it.
    """
    part: list[ImportedLog] = []
    count = 0
    try:
        for row in logs:
            if part and (row.resumes or len(part) == longest or count > VALUES_AT_ONCE):
                yield part
                part, count = [], 0
            part.append(row)
            count += len(row.log.values)
    except UnreadableFile:
        if part:
            yield part
        raise
    if part:
        yield part


def _conclude(run_id: int, imported: ImportedRun, times: list[float]) -> Run:
    """Set the run's final state, start and end as its files give them."""
    run = Run.objects.get(pk=run_id)
    run.state = imported.state or State.STOPPED
    run.reason = imported.reason if imported.state else status_text.UNKNOWN_END
    first, last = (
        datetime.fromtimestamp(seconds, UTC)
        for seconds in (times or [run.created_at.timestamp()] * 2)
    )
    run.started_at = min(run.started_at or first, first)
    run.last_event_at = run.finished_at = max(run.finished_at or last, last)
    run.save(update_fields=["state", "reason", "started_at", "finished_at", "last_event_at"])
    summary.refresh(run_id)
    return run
