"""Appending: one row in one table, whatever the batch holds, and a batch that comes twice changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.db import connection

from webapp.runs.models import Run
from webapp.series import batches
from webapp.series.folding import tidy

Identity = Literal["seq", "content"]

# Which of these numbers have come before. The caller holds the run's row, so that nobody adds any
# meanwhile.
SEEN = """
SELECT run_id, attempt, (log.seen * given.seen::int8multirange)::text
FROM unnest(%s::bigint[], %s::int[], %s::text[]) AS given(run_id, attempt, seen) JOIN metrics_log AS log USING (run_id, attempt)
"""
WRITE = """
WITH given AS (
    SELECT * FROM unnest(%s::bigint[], %s::int[], %s::bool[], %s::text[], %s::bigint[], %s::int[], %s::bytea[])
        AS given(run_id, attempt, content, seen, news, count, data)
), written AS (
    INSERT INTO metrics_batch (run_id, attempt, batch_number, rows, data) SELECT run_id, attempt, news, count, data FROM given WHERE count > 0
)
INSERT INTO metrics_log AS log (run_id, attempt, content, seen, rows, batches, folded, compacted)
SELECT run_id, attempt, content, seen::int8multirange, count, least(count, 1), 0, FALSE FROM given
ON CONFLICT (run_id, attempt) DO UPDATE SET seen = log.seen + excluded.seen, rows = log.rows + excluded.rows,
    batches = log.batches + excluded.batches, compacted = log.compacted AND excluded.rows = 0 WHERE log.content = excluded.content
RETURNING run_id, attempt, rows, batches
"""


@dataclass(frozen=True)
class AppendRequest:
    """What is appended to an attempt of one run, as `append` says; with `fresh` its numbers have
    just been given out to it.
    """

    run: Run
    attempt: int
    events: Sequence[dict[str, Any]]
    batch_number: int
    identity: Identity = "seq"
    fresh: bool = False

    @property
    def content(self) -> bool:
        return self.identity == "content"

    @property
    def place(self) -> tuple[int, int]:
        return self.run.pk, self.attempt


def append(
    run: Run,
    attempt: int,
    events: Iterable[dict[str, Any]],
    batch_number: int,
    identity: Identity = "seq",
) -> None:
    """Store the values of those of `events` that have any, under batch number `batch_number`.

    The caller's transaction holds the run's row. Events are those of the log, checked before:
    `seq`, `step`, `values`, `wall_time`, perhaps `tokens` and `compute`. With identity "seq" an
    event counts once by its number; events of another `type` have no values, but pass them where
    they share the numbers, so that what has been seen stays one range. With "content" there are no
    numbers, and (key, step, wall time, value) counts once. Raises ValueError if the attempt was
    begun with the other identity.
    """
    append_all([AppendRequest(run, attempt, list(events), batch_number, identity)])


def append_all(additions: Sequence[AppendRequest]) -> None:
    """`append` for several attempts, each named once, in as many statements as for one."""
    seen = {
        one.place: "{}" if one.content else _ranges(event["seq"] for event in one.events)
        for one in additions
    }
    asked = [(*one.place, seen[one.place]) for one in additions if not (one.content or one.fresh)]
    known = {(run, attempt): again for run, attempt, again in _rows(SEEN, asked)}
    given = []
    for one in additions:
        again = known.get(one.place, "{}")
        fresh = one.events if one.content else _first_of_each(one.events, again)
        groups = batches.grouped(
            (event for event in fresh if event.get("type", "metrics") == "metrics"), one.content
        )
        count, data = sum(len(group.places) for group in groups), batches.encoded(groups)
        given.append((*one.place, one.content, seen[one.place], one.batch_number, count, data))
    written = _rows(WRITE, given)
    if len(written) < len(given):
        refused = next(
            one
            for one in additions
            if one.place not in {(run, attempt) for run, attempt, _, _ in written}
        )
        name = "sequence number" if refused.content else "content"
        raise ValueError(
            f"attempt {refused.attempt} of run {refused.run.public_id} is logged by {name}"
        )
    for run, attempt, rows, waiting in written:
        tidy(run, attempt, rows, waiting)


def _rows(sql: str, given: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What a statement returns that takes columns."""
    if not given:
        return []
    with connection.cursor() as cursor:
        cursor.execute(sql, [list(column) for column in zip(*given, strict=True)])
        return cursor.fetchall()


def _ranges(numbers: Iterable[int]) -> str:
    """Sequence numbers as Postgres writes a multirange."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number:
            found[-1][1] += 1
        else:
            found.append([number, number + 1])
    return "{" + ",".join(f"[{first},{end})" for first, end in found) + "}"


def _first_of_each(events: Sequence[dict[str, Any]], known: str) -> Iterator[dict[str, Any]]:
    taken = {number for first, end in _read(known) for number in range(first, end)}
    for event in events:
        if event["seq"] not in taken:
            taken.add(event["seq"])
            yield event


def _read(multirange: str) -> Iterator[tuple[int, int]]:
    for part in multirange.strip("{}").replace("),[", ";").strip("[)").split(";"):
        if part:
            first, end = part.split(",")
            yield int(first), int(end)
