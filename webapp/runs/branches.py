"""Which attempt's log is valid for which steps of a run.

Each attempt has its own log. The log of a resumed attempt begins with `rewind{step}`: what earlier
attempts did after that step is abandoned. A log may rewind again when several processes restart
after running out of memory; that also abandons later steps of the same attempt. The *live branch*
is what remains, and it is one curve.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from django.db import connection
from django.db.models import Q

from webapp.access.models import Team
from webapp.runs.models import Checkpoint, Run

# An attempt without a rewind has one row, whose `seq` is NULL.
ATTEMPTS = """
SELECT attempt.run_id, attempt.number, attempt.last_seq, event.seq, event.step
FROM runs_attempt AS attempt LEFT JOIN runs_event AS event
    ON event.run_id = attempt.run_id AND event.attempt = attempt.number AND event.type = 'rewind'
WHERE attempt.run_id = ANY(%s) ORDER BY attempt.run_id, attempt.number DESC, event.seq
"""
REWINDS_AND_CHECKPOINTS = """
SELECT type, attempt, seq, step FROM runs_event
WHERE run_id = %s AND type IN ('rewind', 'checkpoint')
"""


@dataclass(frozen=True)
class BranchSegment:
    """A part of one attempt's log that belongs to the live branch.

    It has the events numbered [`first`, `end`) (`end` None: all later ones), and of these the steps
    up to and including `last` (None: all).
    """

    attempt: int
    last: int | None
    first: int = 0
    end: int | None = None

    def contains(self, attempt: int, seq: int, step: int) -> bool:
        """Return whether an event belongs to the segment."""
        in_range = self.first <= seq and (self.end is None or seq < self.end)
        return attempt == self.attempt and in_range and (self.last is None or step <= self.last)


def segments(run: Run) -> list[BranchSegment]:
    """Return the live branch of `run`, oldest segment first.

    An attempt that wrote something without a rewind started from step 0.
    """
    return segments_by_run([run])[run.pk]


def segments_by_run(runs: Iterable[Run]) -> dict[int, list[BranchSegment]]:
    """Return the live branch of each run by the run's id, in one query."""
    segments_of_run: dict[int, list[BranchSegment]] = {run.pk: [] for run in runs}
    last: dict[int, int | None] = dict.fromkeys(segments_of_run)
    for (run, number, last_seq), rewinds in _attempts(segments_of_run):
        # Newest attempt first: each rewind limits the steps of everything older.
        for first, end, rewound_to in _split_at_rewinds(rewinds):
            segments_of_run[run].append(BranchSegment(number, last[run], first, end))
            if rewound_to is not None:
                limit = last[run]
                last[run] = rewound_to if limit is None else min(limit, rewound_to)
        # The steps of a trainer start at 0, so that nothing of older attempts remains.
        if last_seq and not rewinds:
            last[run] = -1
    return {run: newest_first[::-1] for run, newest_first in segments_of_run.items()}


def _attempts(
    runs: Collection[int],
) -> Iterator[tuple[tuple[int, int, int], list[tuple[int, int]]]]:
    """Yield (run, number, last_seq) of every attempt, newest first, with its rewinds.

    A rewind is (sequence number, step); they are in the order of the log.
    """
    with connection.cursor() as cursor:
        cursor.execute(ATTEMPTS, [list(runs)])
        rows = cursor.fetchall()
    for attempt, attempt_rows in groupby(rows, lambda row: row[:3]):
        yield (
            attempt,
            [
                (seq, -1 if step is None else step)
                for *_, seq, step in attempt_rows
                if seq is not None
            ],
        )


def _split_at_rewinds(
    rewinds: list[tuple[int, int]],
) -> Iterator[tuple[int, int | None, int | None]]:
    """Split a log at its rewinds, newest part first.

    Yields the first and end number of the part's events, and the step that it rewinds to.
    """
    end: int | None = None
    for seq, step in reversed(rewinds):
        yield seq, end, step
        end = seq
    # Usually the rewind is event 1, and nothing of the log comes before it.
    if end is None or end > 1:
        yield 0, end, None


def rewinds_and_checkpoints(run: Run) -> Iterator[tuple[str, int, int]]:
    """Yield (kind, attempt, step) of all rewinds and of the live branch's checkpoints."""
    with connection.cursor() as cursor:
        cursor.execute(REWINDS_AND_CHECKPOINTS, [run.pk])
        rows = cursor.fetchall()
    # Every chart asks for these marks; a run without checkpoints is spared the query of its branch.
    has_checkpoint = any(kind == "checkpoint" for kind, *_ in rows)
    live_segments = segments(run) if has_checkpoint else []
    for kind, attempt, seq, step in rows:
        if (
            kind == "rewind"
            or step is None
            or any(segment.contains(attempt, seq, step) for segment in live_segments)
        ):
            yield kind, attempt, step or 0


def on_live_branch(run: Run) -> Q:
    """Return the filter for rows of the live branch, for models with `attempt`, `seq` and `step`.

    Rows without a step always belong to it.
    """
    condition = Q(step=None)
    for segment in segments(run):
        in_segment = Q(attempt=segment.attempt)
        for name, limit in (
            # 0 limits nothing: the first event has number 1.
            ("seq__gte", segment.first or None),
            ("seq__lt", segment.end),
            ("step__lte", segment.last),
        ):
            in_segment &= Q() if limit is None else Q(**{name: limit})
        condition |= in_segment
    return condition


def checkpoint_of(uri: str, team: Team) -> Checkpoint | None:
    """Return the stored checkpoint of `checkpoint:<run>@<step>` on the run's live branch.

    None if the team has no such checkpoint.
    """
    name, _, step = uri.removeprefix("checkpoint:").rpartition("@")
    run = Run.objects.filter(team=team, public_id=name, deleted_at=None).first()
    # A number of 19 digits may be outside of the range of the column.
    if run is None or not step.isdecimal() or len(step) > 18:
        return None
    return run.checkpoints.filter(on_live_branch(run), step=int(step)).order_by("-attempt").first()
