"""Import of runs from the files that other trackers keep or export.

A value counts once by its file (identified by its first bytes) and its offset, for MLflow by its
content. So the same files can be imported again: after they have grown, or after an interrupted
import, only new values are added. The read position is committed together with the values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from django.db import transaction

from webapp.access.models import Team, User
from webapp.clients import runs, summary
from webapp.clients.client_batch import ClientBatch, LoggedValues, RunAddress, cut, digest_id
from webapp.clients.importers import mlflow, tensorboard, wandb
from webapp.clients.importers.imported_run import (
    ImportedRun,
    LogSource,
    UnreadableFile,
)
from webapp.clients.models import ImportedFile, Receipt
from webapp.clients.record import record
from webapp.runs.event_rows import storable
from webapp.runs.models import Run, State

__all__ = ["FORMATS", "READERS", "UnreadableFile", "import_runs"]

READERS: dict[str, Callable[[Path], Iterator[ImportedRun]]] = {
    "tensorboard": tensorboard.found,
    "wandb": wandb.found,
    "mlflow": mlflow.found,
}
FORMATS = {
    "tensorboard": "TensorBoard event files",
    "wandb": "Weights & Biases: history as CSV or JSON lines, or offline .wandb files",
    "mlflow": "MLflow: an mlruns folder, or metric histories as CSV",
}
# Logs of one transaction, so that a file of any length needs no more memory, and a broken import is
# continued close to where it stopped.
AT_ONCE = 2000
TELL_SECONDS = 5.0
UNKNOWN_END = "The files do not say how the run ended."
LONGEST_NAME = 250
Tell = Callable[[str], None]


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
    run_by_id: dict[int, Run] = {}
    try:
        for imported in READERS[format](folder):
            run = _bring(imported, team, owner, project, tell)
            run_by_id[run.pk] = run
    except OSError as problem:
        raise UnreadableFile(
            f"{problem.filename or 'A file'} cannot be read: {problem.strerror or problem}."
        ) from problem
    if not run_by_id:
        raise UnreadableFile(f"Nothing there looks like {FORMATS[format]}.")
    return list(run_by_id.values())


def _bring(imported: ImportedRun, team: Team, owner: User | None, project: str, tell: Tell) -> Run:
    address = RunAddress(
        team.pk,
        owner.pk if owner else None,
        storable(imported.project or project),
        imported.client,
        storable(imported.key),
        storable(imported.name),
        Run.Source.IMPORTED,
    )
    run_id = runs.at(address)
    params, tags = (
        {cut(storable(name), LONGEST_NAME): storable(value) for name, value in facts.items()}
        for facts in (imported.params, imported.tags)
    )
    with transaction.atomic():
        record({run_id: [ClientBatch(address, params=params, tags=tags)]})
    # First and last time of all values: only these two are kept, however long the files are.
    times: list[float] = []
    count, last_report = 0, time.monotonic()
    try:
        for source in imported.sources:
            for logs in _recorded(run_id, address, source):
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
    return run


def _recorded(run_id: int, address: RunAddress, source: LogSource) -> Iterator[list[LoggedValues]]:
    """Yield each part of a file's logs that was not recorded before, after recording it."""
    imported_file = (
        None
        if source.head is None
        else ImportedFile.objects.get_or_create(run_id=run_id, head=source.head)[0]
    )
    done = 0 if imported_file is None else imported_file.done
    # Older versions kept a receipt for each log instead of the read position. Such a file continues
    # with receipts, because its position is not known.
    with_receipts = (
        imported_file is not None and not done and Receipt.objects.filter(run=run_id).exists()
    )
    new_logs = ((offset, log) for offset, log in source.logs() if offset >= done)
    while chunk := list(islice(new_logs, AT_ONCE)):
        logs = [
            replace(log, id=digest_id(source.head, offset)) if with_receipts else log
            for offset, log in chunk
        ]
        with transaction.atomic():
            record({run_id: [ClientBatch(address, logs)]})
            # In the transaction of the values: a crash leaves both or neither.
            if imported_file is not None:
                imported_file.done = chunk[-1][0] + 1
                imported_file.save(update_fields=["done"])
        yield logs


def _conclude(run_id: int, imported: ImportedRun, times: list[float]) -> Run:
    """Set the run's final state, start and end as its files give them."""
    run = Run.objects.get(pk=run_id)
    run.state, run.reason = imported.state or State.STOPPED, "" if imported.state else UNKNOWN_END
    first, last = (
        datetime.fromtimestamp(seconds, UTC)
        for seconds in (times or [run.created_at.timestamp()] * 2)
    )
    run.started_at = min(run.started_at or first, first)
    run.last_event_at = run.finished_at = max(run.finished_at or last, last)
    run.save(update_fields=["state", "reason", "started_at", "finished_at", "last_event_at"])
    summary.refresh(run_id)
    return run
