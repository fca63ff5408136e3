"""Which attempt a run followed at which step.

Each attempt has its own log. A resumed one begins with `rewind{step}`: what was done before, after
that step, is abandoned. A log may rewind once more, where several processes began again after their
memory ran out; that abandons the later steps of the same attempt too. The *live branch* is what
remains, and it is one curve.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from django.db import connection
from django.db.models import Q

from webapp.access.models import Team
from webapp.runs.models import Checkpoint, Run

ATTEMPTS = """
SELECT attempt.run_id, attempt.number, attempt.last_seq, event.seq, event.step FROM runs_attempt AS attempt
LEFT JOIN runs_event AS event ON event.run_id = attempt.run_id AND event.attempt = attempt.number AND event.type = 'rewind'
WHERE attempt.run_id = ANY(%s) ORDER BY attempt.run_id, attempt.number DESC, event.seq
"""
REWINDS_AND_CHECKPOINTS = "SELECT type, attempt, seq, step FROM runs_event WHERE run_id = %s AND type IN ('rewind', 'checkpoint')"


@dataclass(frozen=True)
class BranchSegment:
    """A part of one attempt's log that belongs to the live branch: events numbered [`first`, `end`)
    (None: all later ones), and of these the steps up to and including `last` (None: all).
    """

    attempt: int
    last: int | None
    first: int = 0
    end: int | None = None

    def holds(self, attempt: int, seq: int, step: int) -> bool:
        """Whether the event of that place belongs to it."""
        inside = self.first <= seq and (self.end is None or seq < self.end)
        return attempt == self.attempt and inside and (self.last is None or step <= self.last)


def segments(run: Run) -> list[BranchSegment]:
    """The live branch of `run`, oldest first. An attempt that wrote something without a rewind
    began from nothing.
    """
    return segments_by_run([run])[run.pk]


def segments_by_run(runs: Iterable[Run]) -> dict[int, list[BranchSegment]]:
    """The live branch of each run, by its id."""
    found: dict[int, list[BranchSegment]] = {run.pk: [] for run in runs}
    last: dict[int, int | None] = dict.fromkeys(found)
    for (run, number, last_seq), rewinds in _attempts(found):
        for first, end, rewound_to in _parts(rewinds):
            found[run].append(BranchSegment(number, last[run], first, end))
            if rewound_to is not None:
                last[run] = _lower(last[run], rewound_to)
        if last_seq and not rewinds:
            last[run] = -1
    return {run: parts[::-1] for run, parts in found.items()}


def _attempts(
    runs: Collection[int],
) -> Iterator[tuple[tuple[int, int, int], list[tuple[int, int]]]]:
    """(run, number, last_seq) of every attempt, newest first, with (number of the event, step) of
    its rewinds in the order of the log.
    """
    with connection.cursor() as cursor:
        cursor.execute(ATTEMPTS, [list(runs)])
        rows = cursor.fetchall()
    for attempt, same in groupby(rows, lambda row: row[:3]):
        yield (
            attempt,
            [(seq, -1 if step is None else step) for *_, seq, step in same if seq is not None],
        )


def _parts(rewinds: list[tuple[int, int]]) -> Iterator[tuple[int, int | None, int | None]]:
    """A log cut at its rewinds, newest part first: first and end number of its events, and the step
    to which it rewinds.
    """
    end: int | None = None
    for seq, step in reversed(rewinds):
        yield seq, end, step
        end = seq
    if end is None or end > 1:
        yield 0, end, None


def _lower(one: int | None, other: int) -> int:
    return other if one is None else min(one, other)


def rewinds_and_checkpoints(run: Run) -> Iterator[tuple[str, int, int]]:
    """("rewind" or "checkpoint", attempt, step) of every rewind, and of the checkpoints of the live
    branch.
    """
    with connection.cursor() as cursor:
        cursor.execute(REWINDS_AND_CHECKPOINTS, [run.pk])
        found = cursor.fetchall()
    parts = segments(run) if any(kind == "checkpoint" for kind, *_ in found) else []
    for kind, attempt, seq, step in found:
        if (
            kind == "rewind"
            or step is None
            or any(part.holds(attempt, seq, step) for part in parts)
        ):
            yield kind, attempt, step or 0


def on_live_branch(run: Run) -> Q:
    """Condition that keeps the live branch, for models with `attempt`, `seq` and `step`; what has
    no step belongs to it always.
    """
    condition = Q(step=None)
    for segment in segments(run):
        part = Q(attempt=segment.attempt)
        for name, limit in (
            ("seq__gte", segment.first or None),
            ("seq__lt", segment.end),
            ("step__lte", segment.last),
        ):
            part &= Q() if limit is None else Q(**{name: limit})
        condition |= part
    return condition


def checkpoint_of(uri: str, team: Team) -> Checkpoint | None:
    """The stored checkpoint of `checkpoint:<run>@<step>` on the run's live branch, if the team has
    it.
    """
    name, _, step = uri.removeprefix("checkpoint:").rpartition("@")
    run = Run.objects.filter(team=team, public_id=name).first()
    if run is None or not step.isdecimal() or len(step) > 18:
        return None
    return run.checkpoints.filter(on_live_branch(run), step=int(step)).order_by("-attempt").first()
