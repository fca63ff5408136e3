"""Write what clients log to Postgres: once, and in one transaction with the runs' batch counts.

A log with an id counts once by its receipt; one without counts once by its content (key, step,
time, value). A client that resumes a run at an earlier step starts a new attempt, which replaces
what came after that step, as when a managed run is resumed.

All runs of a transaction share a statement where possible, because the cost of a request is mostly
its round trips to Postgres.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection

from webapp.base.database_clock import database_now
from webapp.clients import receipts
from webapp.clients.client_batch import ClientBatch, LoggedValues, LogLine, digest_id
from webapp.clients.describe import describe
from webapp.clients.limits import within
from webapp.clients.masking import masked_text
from webapp.clients.models import Origin
from webapp.runs.event_rows import moment
from webapp.runs.models import Attempt, Event, Run
from webapp.series import series_store

Item = TypeVar("Item", LoggedValues, LogLine)

# The rows are locked in the order of their ids, so that two writers cannot deadlock.
TAKE = """
WITH locked AS (
    SELECT id FROM runs_run WHERE id = ANY(%(runs)s) AND deleted_at IS NULL
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE runs_run AS run SET
    batch_count = run.batch_count + 1,
    last_event_at = to_timestamp(%(now)s),
    step = greatest(run.step, given.step)
FROM locked, clients_origin AS origin,
    unnest(%(runs)s::bigint[], %(steps)s::bigint[]) AS given(run, step)
WHERE run.id = locked.id AND origin.run_id = locked.id AND given.run = locked.id
RETURNING run.id, run.public_id, run.batch_count, run.attempt, origin.client, origin.resuming
"""
NUMBER = """
UPDATE runs_attempt AS attempt SET
    last_seq = attempt.last_seq + given.count, step = greatest(attempt.step, given.step)
FROM unnest(%s::bigint[], %s::int[], %s::bigint[], %s::bigint[])
    AS given(run, number, count, step)
WHERE attempt.run_id = given.run AND attempt.number = given.number
RETURNING attempt.run_id, attempt.last_seq, attempt.step
"""
# Below every step that can be stored, so that it changes nothing in `greatest(...)`.
LOWEST = -(2**62)
# Number of series of a request that are compared with their curves to find out whether the client
# went back: each comparison reads a whole curve.
COMPARED_SERIES = 20


@dataclass
class RunWrite:
    """What is written to one run: `logs` and `lines` without repetitions.

    `first` is the first sequence number, `current_step` the step of logs that name none.
    """

    run: Run
    batch_number: int
    client: str
    logs: list[LoggedValues]
    lines: list[LogLine]
    first: int = 0
    current_step: int = 0

    @property
    def step(self) -> int:
        """The highest step of the logs and lines."""
        steps = [log.step for log in self.logs] + [line.step for line in self.lines]
        return max([LOWEST, *(step for step in steps if step is not None)])

    @property
    def ids(self) -> Iterator[UUID]:
        ids = [log.id for log in self.logs] + [line.id for line in self.lines]
        return (id for id in ids if id is not None)


@dataclass(frozen=True)
class Recorded:
    """New batch counts by public id, to notify readers; and the (run, attempt) to fold."""

    batch_counts: dict[str, int]
    long_tails: list[tuple[int, int]]


def record(batches_by_run: Mapping[int, Sequence[ClientBatch]]) -> Recorded:
    """Append the batches of each run, inside the caller's transaction.

    Raises Run.DoesNotExist, or describe.Unfit.
    """
    run_writes, resuming = _lock_runs(batches_by_run)
    complaints = describe(
        {
            run: batches
            for run, batches in batches_by_run.items()
            if any(batch.describes for batch in batches)
        },
        resuming,
    )
    for run_write in run_writes:
        run_write.logs, complaint = within(run_write.run, run_write.logs)
        # Logged once per run: the first 40 characters are the kind of a warning, and its id.
        run_write.lines += [
            LogLine(
                "warning",
                text,
                None,
                time.time(),
                digest_id("warning", run_write.run.pk, text[:40]),
            )
            for text in (complaint, complaints.get(run_write.run.pk))
            if text
        ]
    # Repetitions are dropped before the steps are compared: a log that is sent again is no sign
    # that the client went back. Numbers come last, because a rewind starts a new attempt.
    _drop_received(run_writes)
    for run_write in run_writes:
        if run_write.run.pk in resuming:
            _rewind_if_repeated(run_write)
    _assign_numbers(run_writes)
    return Recorded(
        {run_write.run.public_id: run_write.batch_number for run_write in run_writes},
        _append(run_writes),
    )


def _lock_runs(
    batches_by_run: Mapping[int, Sequence[ClientBatch]],
) -> tuple[list[RunWrite], set[int]]:
    """Lock the runs and count the batch; return also which runs a client has resumed."""
    writes_by_run = {
        run: RunWrite(
            Run(pk=run),
            0,
            "",
            [log for batch in batches for log in batch.logs],
            [line for batch in batches for line in batch.lines],
        )
        for run, batches in batches_by_run.items()
    }
    resuming = set()
    rows = _rows(
        TAKE,
        {
            "runs": list(writes_by_run),
            "steps": [run_write.step for run_write in writes_by_run.values()],
            "now": database_now().timestamp(),
        },
    )
    for run, public_id, batch_number, attempt, client, resumed in rows:
        run_write = writes_by_run[run]
        run_write.run.public_id, run_write.run.attempt, run_write.batch_number, run_write.client = (
            public_id,
            attempt,
            batch_number,
            client,
        )
        if resumed:
            resuming.add(run)
    # All or nothing: a request whose answer is 200 must have stored the values of all its runs.
    if len(rows) < len(writes_by_run):
        raise Run.DoesNotExist("a run that is logged to is gone")
    return list(writes_by_run.values()), resuming


def _drop_received(run_writes: Sequence[RunWrite]) -> None:
    """Keep only logs and lines without a receipt, and the first of each id."""
    new_ids = receipts.receive(
        {(run_write.run.pk, id) for run_write in run_writes for id in run_write.ids}
    )
    for run_write in run_writes:
        run_write.logs = receipts.unknown(
            run_write.run, _first_of_each(run_write.run.pk, run_write.logs, new_ids)
        )
        run_write.lines = _first_of_each(run_write.run.pk, run_write.lines, new_ids)


def _first_of_each(run: int, items: Sequence[Item], new_ids: set[tuple[int, UUID]]) -> list[Item]:
    first_items = []
    for item in items:
        if item.id is None or (run, item.id) in new_ids:
            first_items.append(item)
            new_ids -= {(run, item.id)} if item.id is not None else set()
    return first_items


def _rewind_if_repeated(run_write: RunWrite) -> None:
    """Start a new attempt if a resumed run logs steps again that a curve already has.

    The first values of each series since the resumption decide.
    """
    origin = Origin.objects.only("resumed_keys").get(pk=run_write.run.pk)
    first = {
        name: step
        for name, step in _first_steps(run_write.logs).items()
        if name not in origin.resumed_keys
    }
    # The usual request of a run that stays `resuming`, as one with figures of a machine does: these
    # have no steps.
    if not first:
        return
    step = min(
        (
            step
            for name, step in islice(first.items(), COMPARED_SERIES)
            if _is_repeated(run_write.run, name, step)
        ),
        default=None,
    )
    if step is None:
        _await_other_series(run_write.run, {*origin.resumed_keys, *first})
        return
    back, number = step - 1, run_write.run.attempt + 1
    Origin.objects.filter(pk=run_write.run.pk).update(resuming=False, resumed_keys=[])
    Attempt.objects.create(run=run_write.run, number=number, step=back, last_seq=1)
    Event.objects.create(
        run=run_write.run,
        attempt=number,
        seq=1,
        type="rewind",
        step=back,
        wall_time=moment(time.time()),
        payload={},
        batch_number=run_write.batch_number,
    )
    # `_lock_runs` only raises the step; a run that went back shows the step that it logs at.
    Run.objects.filter(pk=run_write.run.pk).update(
        attempt=number, step=max(log.step for log in run_write.logs if log.step is not None)
    )
    run_write.run.attempt = number
    run_write.lines.append(
        LogLine(
            "info",
            f"The client logged step {step:,} again. What it had logged from there on is the "
            f"abandoned tail of attempt {number - 1}: the overview has a link to all values.",
            None,
            time.time(),
            digest_id("rewind", run_write.run.pk, number),
        )
    )


def _first_steps(logs: Sequence[LoggedValues]) -> dict[str, int]:
    """Return the lowest step of each series, in order of arrival."""
    first: dict[str, int] = {}
    for log in logs:
        for name in log.values if log.step is not None else ():
            first[name] = min(log.step or 0, first.get(name, log.step or 0))
    return first


def _is_repeated(run: Run, name: str, step: int) -> bool:
    """Return whether the series is a curve that already has `step` or later steps.

    A series of a single step is a result, such as a test score, which may be logged again at any
    step. A series that the run does not have yet is new.
    """
    # Not the highest x of the curve: a long curve is in buckets, and these have an average x.
    if not series_store.read([run], [name], start=step):
        return False
    return len({x for series in series_store.read([run], [name]) for x in series.x}) > 1


def _await_other_series(run: Run, resumed_keys: set[str]) -> None:
    """Remember the series that have been logged since the resumption.

    The run stays `resuming` until all its series were: each may continue or go back.
    """
    Origin.objects.filter(pk=run.pk).update(
        resumed_keys=sorted(resumed_keys),
        resuming=not resumed_keys.issuperset(series_store.keys(run)),
    )


def _assign_numbers(run_writes: Sequence[RunWrite]) -> None:
    """Assign sequence numbers, and the current step to what names no step."""
    counts = [
        (
            run_write.run.pk,
            run_write.run.attempt,
            len(run_write.logs) + len(run_write.lines),
            run_write.step,
        )
        for run_write in run_writes
    ]
    last_by_run = {
        run: (last, step)
        for run, last, step in _rows(NUMBER, list(map(list, zip(*counts, strict=True))))
    }
    for run_write, (run, _, count, _) in zip(run_writes, counts, strict=True):
        last, run_write.current_step = last_by_run[run]
        run_write.first = last - count + 1


def _append(run_writes: Sequence[RunWrite]) -> list[tuple[int, int]]:
    """Store values and lines; return the (run, attempt) to fold.

    The numbers of the lines follow those of the values.
    """
    additions, lines = [], []
    for run_write in run_writes:
        rows: list[dict[str, Any]] = [
            {
                "seq": seq,
                "step": run_write.current_step if log.step is None else log.step,
                "values": log.values,
                "wall_time": log.wall_time,
            }
            for seq, log in enumerate(run_write.logs, run_write.first)
        ]
        events = [
            _event(run_write, line, seq)
            for seq, line in enumerate(run_write.lines, run_write.first + len(rows))
        ]
        # The numbers of lines are passed too, so that the seen numbers stay one range.
        rows += [{"seq": event.seq, "type": event.type} for event in events]
        if rows:
            # MLflow's client numbers nothing and may send a batch again: its points count by
            # content.
            identity: series_store.Identity = "content" if run_write.client == "mlflow" else "seq"
            additions.append(
                series_store.AppendRequest(
                    run_write.run,
                    run_write.run.attempt,
                    rows,
                    run_write.batch_number,
                    identity,
                    has_new_seqs=True,
                )
            )
        lines += events
    long_tails = series_store.append_all(additions)
    if lines:
        Event.objects.bulk_create(lines)
    return long_tails


def _event(run_write: RunWrite, line: LogLine, seq: int) -> Event:
    return Event(
        run=run_write.run,
        attempt=run_write.run.attempt,
        seq=seq,
        type="log",
        step=run_write.current_step if line.step is None else line.step,
        wall_time=moment(line.wall_time),
        payload={"level": line.level, "message": masked_text(line.message)},
        batch_number=run_write.batch_number,
    )


def _rows(sql: str, values: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()
