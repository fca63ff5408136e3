"""The tail of a run: the batches that wait to be folded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.db import connection

from webapp.series import chunks
from webapp.series.batches import Group, decoded, together
from webapp.series.models import Series
from webapp.series.points import LEAST, Strand, end_to_end, repeated

WAITING = """
SELECT batch.run_id, batch.attempt, batch.batch_number, batch.data, log.content
FROM metrics_batch AS batch JOIN metrics_log AS log USING (run_id, attempt)
WHERE batch.run_id = ANY(%(runs)s) AND (log.content OR batch.batch_number > %(past)s) ORDER BY batch.attempt, batch.batch_number, batch.id
"""


@dataclass(frozen=True)
class Tail:
    """Groups of one attempt, oldest first. If they count by `content`, what comes again, or came in
    the groups `before`, is dropped.
    """

    groups: Sequence[Group]
    content: bool
    before: Sequence[Group] = ()

    def keys(self) -> set[str]:
        return {key for group in self.groups for key in group.keys}


def tails(runs: Collection[int], past: int | None = None) -> dict[tuple[int, int], Tail]:
    """(run, attempt) → its tail, for those of `runs` that have one; only batches past number `past`
    if that is given.
    """
    found: dict[tuple[int, int], tuple[list[Group], list[Group]]] = {}
    content = set()
    with connection.cursor() as cursor:
        cursor.execute(WAITING, {"runs": list(runs), "past": LEAST if past is None else past})
        for run, attempt, news, data, by_content in cursor.fetchall():
            place = (run, attempt)
            if by_content:
                content.add(place)
            found.setdefault(place, ([], []))[past is not None and news <= past].extend(
                decoded(data)
            )
    return {
        place: Tail(together(new), place in content, old) for place, (new, old) in found.items()
    }


def strands(tail: Tail | None, known: Series | None, key: str) -> list[Strand]:
    """The tail of one key; what comes again is left out, also if it is in the chunks of `known`."""
    found = _strands(tail.groups, key) if tail is not None else []
    if tail is None or not tail.content or not found:
        return found
    whole = end_to_end(found)
    before = _strands(tail.before, key)
    if known is not None and not (
        known.monotonic_axes & 4 and whole.places.wall_time.min() > known.last_time
    ):
        before += chunks.overlapping(known, whole.places)
    again = repeated(whole, end_to_end(before))
    if again.all():
        return []
    return [Strand(whole.places.take(~again), whole.values[~again])] if again.any() else found


def _strands(groups: Iterable[Group], key: str) -> list[Strand]:
    return [Strand(group.places, group.rows[key]) for group in groups if key in group.rows]
