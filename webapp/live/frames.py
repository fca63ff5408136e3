"""What live sockets send, read in one snapshot and encoded once for all who ask the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webapp.access import permissions
from webapp.access.actors import Actor
from webapp.base.database_clock import database_now
from webapp.base.read_snapshot import snapshot
from webapp.jobs import progress
from webapp.jobs.models import Job
from webapp.jobs.models import State as JobState
from webapp.live.messages import (
    MOST_KEYS,
    Buckets,
    Delta,
    JobRow,
    Jobs,
    Points,
    Reset,
    Row,
    Runs,
    State,
)
from webapp.runs import status_text
from webapp.runs.models import Event, Run
from webapp.series import series_store

# Points of an answer, which is read and encoded as a whole.
MOST_POINTS = 100_000
# At most 25 bytes each: a frame stays below LARGEST_FRAME.
FRAME_NUMBERS = 20_000
# Rows include the summaries of their runs, so that LIST_LENGTH of them would make a long frame.
FRAME_ROWS = 50
# The least width that a client may ask for.
LEAST_WIDTH = 10
LIST_LENGTH = 200
# What a page loads again by itself after events of a type; other types need no part of the page.
PAGE_PARTS = {
    "problem_set": "problems",
    "problems": "problems",
    "snr": "problems",
    "rollouts": "rollouts",
    "log": "log",
    "rewind": "log",
    "end": "log",
    "checkpoint": "checkpoints",
    "checkpoint_removed": "checkpoints",
    "evaluation": "evaluation",
    "calibration": "calibration",
    "token_regions": "token_regions",
    "privileged": "privileged",
    "pipeline": "pipeline",
}


@dataclass(frozen=True)
class RunChanges:
    """What is past a cursor: state, points and the parts of the page to load again.

    `series` are points in order. It is None if there are too many, if they can no longer be told
    apart from older ones, or if the curve before the cursor changed too.
    """

    run: str
    cursor: int
    state: State
    series: tuple[series_store.ChartSeries, ...] | None
    page_parts: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """Frames as text, in order, that together bring a client to `cursor`."""

    cursor: int
    frames: tuple[str, ...]
    is_reset: bool = False


class TooMany(ValueError):
    """More series than one socket sends; the message says what to do."""


def news_since(run_id: int, since: int) -> RunChanges:
    """Return everything about a run after batch `since`. Raises Run.DoesNotExist."""
    with snapshot():
        run = Run.objects.defer("spec").get(pk=run_id, deleted_at=None)
        types = (
            set(
                Event.objects.filter(run=run, batch_number__gt=since)
                .values_list("type", flat=True)
                .distinct()
            )
            if since != run.batch_count
            else set()
        )
        # A cursor beyond the last batch is one of another database: this one was restored from a
        # backup. A client at cursor 0 has drawn nothing that a rewind could abandon.
        rewound = since > run.batch_count or (since > 0 and "rewind" in types)
        return RunChanges(
            run.public_id,
            run.batch_count,
            state_of(run),
            None if rewound else _series_since(run, since),
            tuple(sorted({PAGE_PARTS[type] for type in types if type in PAGE_PARTS})),
        )


def answer(changes: RunChanges, run_id: int, keys: frozenset[str] | None, width: int) -> Answer:
    """Encode `changes` for a client that wants `keys` (None: all).

    The answer is a delta, or a reset if more is past the client's cursor than it would draw.
    """
    series = (
        None
        if changes.series is None
        else [item for item in changes.series if keys is None or item.key in keys]
    )
    if series is None or any(item.count > width for item in series):
        return _reset(changes, run_id, keys, width)
    # `model_construct` skips validation, because the values come from the store; the tests validate
    # every kind of frame.
    points = [Points.model_construct(key=item.key, x=item.x, y=item.mean) for item in series]
    return Answer(changes.cursor, _frames(Delta, "delta", changes, changes.cursor, points))


def list_rows(
    actor: Actor, known_rows: Mapping[int, tuple[int, Row]]
) -> dict[int, tuple[int, Row]]:
    """Return the newest runs of the actor's team as (batch count, row) by id.

    Rows in `known_rows` whose batch count did not change are not read again.
    """
    newest = permissions.visible(actor, Run).filter(team=actor.team).order_by("-pk")
    cursor_by_run = dict(newest.values_list("pk", "batch_count")[:LIST_LENGTH])
    stale = [
        pk
        for pk, cursor in cursor_by_run.items()
        if pk not in known_rows or known_rows[pk][0] != cursor
    ]
    rows = {pk: known_rows[pk] for pk in cursor_by_run if pk not in stale}
    for run in newest.filter(pk__in=stale).defer("spec"):
        rows[run.pk] = (
            run.batch_count,
            Row.model_construct(run=run.public_id, name=run.name, **dict(state_of(run))),
        )
    return rows


def list_frames(rows: Sequence[Row], removed: bool) -> list[str]:
    """Return `rows` as frames of at most FRAME_ROWS rows, one frame at least."""
    chunks = [rows[first : first + FRAME_ROWS] for first in range(0, len(rows), FRAME_ROWS)]
    return [
        Runs.model_construct(
            type="runs", now=database_now(), rows=list(chunk), removed=removed
        ).model_dump_json()
        for chunk in chunks or [()]
    ]


def job_rows(actor: Actor) -> tuple[JobRow, ...]:
    """Return the running jobs of the actor's team."""
    running = (
        permissions.visible(actor, Job)
        .filter(team=actor.team, state=JobState.RUNNING)
        .order_by("pk")
    )
    jobs = list(running.only("public_id"))
    counts_by_job = progress.counts(jobs) if jobs else {}
    # `counts` keeps the order of its argument.
    return tuple(
        JobRow(
            job=job.public_id,
            done=counts.done,
            parts_done=counts.parts_done,
            at_work=counts.at_work,
        )
        for job, counts in zip(jobs, counts_by_job.values(), strict=True)
    )


def job_frame(rows: Sequence[JobRow]) -> str:
    return Jobs(type="jobs", now=database_now(), rows=list(rows)).model_dump_json()


def cursors(run_ids: Sequence[int]) -> dict[int, int]:
    """Return the batch counts of runs by id; deleted runs are missing."""
    present = Run.objects.filter(pk__in=run_ids, deleted_at=None)
    return dict(present.values_list("pk", "batch_count"))


def state_of(run: Run) -> State:
    """Return what headers and lists show of a run."""
    return State.model_construct(
        state=run.state,
        word=status_text.state_of(run),
        step=run.step,
        total_steps=run.total_steps,
        phase=run.summary.get("phase", ""),
        eta_s=run.summary.get("eta_s"),
        reason=run.reason,
        remedy=run.remedy,
        attempt=run.attempt,
        last_event_at=run.last_event_at,
        behind_s=run.summary.get("behind_s"),
        summary=run.summary,
        edits=run.edits,
    )


def _series_since(run: Run, since: int) -> tuple[series_store.ChartSeries, ...] | None:
    # The usual case of an idle page, answered without a query.
    if since == run.batch_count:
        return ()
    all_series = series_store.read_since(run, since)
    return (
        None
        if all_series is None or sum(series.count for series in all_series) > MOST_POINTS
        else tuple(all_series)
    )


def _reset(changes: RunChanges, run_id: int, keys: frozenset[str] | None, width: int) -> Answer:
    """Return the series from their beginning.

    Many of them get fewer buckets each, so that all together have at most MOST_POINTS.
    """
    # Read again: the series and the cursor that the client gets belong to one snapshot, which may
    # be later than that of `changes`.
    with snapshot():
        run = Run.objects.defer("spec").get(pk=run_id)
        sorted_keys = sorted(series_store.keys(run) if keys is None else keys)
        if len(sorted_keys) > MOST_KEYS:
            raise TooMany(
                f"This run has {len(sorted_keys)} series. Name those that you want, at most "
                f"{MOST_KEYS}."
            )
        width = max(LEAST_WIDTH, min(width, MOST_POINTS // max(1, len(sorted_keys))))
        all_series = series_store.read([run], sorted_keys, width=width)
    series = [
        Buckets.model_construct(
            key=item.key,
            x=item.x,
            mean=item.mean,
            min=item.min,
            max=item.max,
            last=item.last,
            count=item.count,
            marks=item.marks,
        )
        for item in all_series
    ]
    return Answer(
        run.batch_count,
        _frames(Reset, "reset", changes, run.batch_count, series, width=width),
        is_reset=True,
    )


def _frames(
    kind: type[Delta] | type[Reset],
    type: str,
    changes: RunChanges,
    cursor: int,
    series: Sequence[Points | Buckets],
    **more: Any,
) -> tuple[str, ...]:
    """Encode `series` in as many frames as they need; each has the state and the page's parts."""
    packs = list(_packs(series))
    shared: dict[str, Any] = {
        "type": type,
        "run": changes.run,
        "cursor": cursor,
        "parts": len(packs),
        "now": database_now(),
        "state": changes.state,
        "changed": list(changes.page_parts),
        **more,
    }
    return tuple(
        kind.model_construct(None, **{**shared, "part": index, "series": pack}).model_dump_json()
        for index, pack in enumerate(packs)
    )


def _packs(series: Iterable[Points | Buckets]) -> Iterator[list[Points | Buckets]]:
    """Yield groups of at most FRAME_NUMBERS numbers, and at least one group.

    Each has at least one series, if there are any.
    """
    pack: list[Points | Buckets] = []
    size = 0
    for item in series:
        numbers = (
            2 * len(item.x) if isinstance(item, Points) else 5 * len(item.x) + 2 * len(item.marks)
        )
        if pack and size + numbers > FRAME_NUMBERS:
            yield pack
            pack, size = [], 0
        pack.append(item)
        size += numbers
    yield pack
