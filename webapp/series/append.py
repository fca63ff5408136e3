"""Append logged values: the place where metrics enter Postgres.

An append writes one row of one table, however many keys and rows the batch holds. A batch that is
sent again changes nothing. `append` also folds a tail that has become long, in the caller's
transaction; after `append_all` the caller does so, when and where it delays nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.db import connection

from webapp.runs.models import Run
from webapp.series.folding import fold_long_tail, is_long
from webapp.series.storage import batches

Identity = Literal["seq", "content"]

# Which of these sequence numbers came before. The caller has locked the run's row, so that no other
# transaction adds numbers in between.
SEEN_BEFORE = """
SELECT run_id, attempt, (log.seen * given.seen::int8multirange)::text
FROM unnest(%s::bigint[], %s::int[], %s::text[]) AS given(run_id, attempt, seen)
JOIN metrics_log AS log USING (run_id, attempt)
"""
# One statement for batch and log, because round trips are most of the cost of a small append.
# Returns no row for an attempt that has the other identity.
INSERT = """
WITH given AS (
    SELECT * FROM unnest(
        %s::bigint[], %s::int[], %s::bool[], %s::text[], %s::bigint[], %s::int[], %s::bytea[]
    ) AS given(run_id, attempt, content, seen, batch_number, count, data)
), written AS (
    INSERT INTO metrics_batch (run_id, attempt, batch_number, rows, data)
    SELECT run_id, attempt, batch_number, count, data FROM given WHERE count > 0
)
INSERT INTO metrics_log AS log (run_id, attempt, content, seen, rows, batches, folded, compacted)
SELECT run_id, attempt, content, seen::int8multirange, count, least(count, 1), 0, FALSE FROM given
ON CONFLICT (run_id, attempt) DO UPDATE SET
    seen = log.seen + excluded.seen,
    rows = log.rows + excluded.rows,
    batches = log.batches + excluded.batches,
    compacted = log.compacted AND excluded.rows = 0
WHERE log.content = excluded.content
RETURNING run_id, attempt, rows, batches
"""


@dataclass(frozen=True)
class AppendRequest:
    """Events to append to an attempt of one run; the arguments are those of `append`.

    `has_new_seqs`: the caller has just assigned the sequence numbers, so that none can repeat.
    """

    run: Run
    attempt: int
    events: Sequence[dict[str, Any]]
    batch_number: int
    identity: Identity = "seq"
    has_new_seqs: bool = False

    @property
    def content(self) -> bool:
        return self.identity == "content"

    @property
    def log_key(self) -> tuple[int, int]:
        return self.run.pk, self.attempt


def append(
    run: Run,
    attempt: int,
    events: Iterable[dict[str, Any]],
    batch_number: int,
    identity: Identity = "seq",
) -> None:
    """Store the values of `events` under batch number `batch_number`.

    The caller's transaction has locked the run's row. Events are validated events of the log:
    `seq`, `step`, `values`, `wall_time` and optionally `tokens` and `compute`. With identity "seq"
    an event counts once by its sequence number. Events of another `type` have no values; pass them
    where they share the numbering, so that the seen numbers stay one range. With "content" there
    are no numbers, and each (key, step, wall time, value) counts once.

    Raises ValueError if the attempt was first logged with the other identity.
    """
    request = AppendRequest(run, attempt, list(events), batch_number, identity)
    for log_key in append_all([request]):
        fold_long_tail(*log_key)


def append_all(requests: Sequence[AppendRequest]) -> list[tuple[int, int]]:
    """`append` for several attempts, each named once, in as many statements as for one.

    Nothing is folded: returns the (run, attempt) whose tails are long now, for `fold_tail`.
    """
    seqs = {
        request.log_key: "{}"
        if request.content
        else _multirange(event["seq"] for event in request.events)
        for request in requests
    }
    to_check = [
        (*request.log_key, seqs[request.log_key])
        for request in requests
        if not (request.content or request.has_new_seqs)
    ]
    seen_before = {
        (run, attempt): seen_numbers for run, attempt, seen_numbers in _rows(SEEN_BEFORE, to_check)
    }
    values = []
    for request in requests:
        # Content cannot be compared here without reading the whole log. Repetitions are stored, and
        # are dropped where a tail is read or folded.
        events = (
            request.events
            if request.content
            else _unseen(request.events, seen_before.get(request.log_key, "{}"))
        )
        groups = batches.group_rows(
            (event for event in events if event.get("type", "metrics") == "metrics"),
            request.content,
        )
        count, data = batches.row_count(groups), batches.encode_groups(groups)
        seen_numbers = seqs[request.log_key]
        values.append(
            (*request.log_key, request.content, seen_numbers, request.batch_number, count, data)
        )
    logs = _rows(INSERT, values)
    # Values of both kinds in one log could not be compared with each other.
    if len(logs) < len(values):
        written_keys = {(run, attempt) for run, attempt, _, _ in logs}
        refused = next(request for request in requests if request.log_key not in written_keys)
        identity = "sequence number" if refused.content else "content"
        raise ValueError(
            f"attempt {refused.attempt} of run {refused.run.public_id} is logged by {identity}"
        )
    return [
        (run, attempt)
        for run, attempt, row_count, batch_count in logs
        if is_long(row_count, batch_count)
    ]


def _rows(sql: str, values: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Return the rows of a statement that takes `values` as one array for each column."""
    if not values:
        return []
    with connection.cursor() as cursor:
        cursor.execute(sql, [list(column) for column in zip(*values, strict=True)])
        return cursor.fetchall()


def _multirange(numbers: Iterable[int]) -> str:
    """Return sequence numbers as Postgres writes a multirange."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] == number:
            ranges[-1][1] += 1
        else:
            ranges.append([number, number + 1])
    return "{" + ",".join(f"[{first},{end})" for first, end in ranges) + "}"


def _unseen(events: Sequence[dict[str, Any]], seen_before: str) -> Iterator[dict[str, Any]]:
    """Yield the first event of each number that is not in the multirange `seen_before`."""
    # The multirange only has numbers of `events` themselves, so that it is not large.
    seen_numbers = {
        number
        for first, end in re.findall(r"(-?\d+),(-?\d+)", seen_before)
        for number in range(int(first), int(end))
    }
    for event in events:
        if event["seq"] not in seen_numbers:
            seen_numbers.add(event["seq"])
            yield event
