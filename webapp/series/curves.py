"""The live branch of runs, key by key, as parts of attempts: what a chart is planned with before
any point is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from webapp.runs import branches
from webapp.runs.models import Run
from webapp.series import chunks, tail
from webapp.series.folding import STRAIGHT, straight
from webapp.series.models import Series
from webapp.series.packing import Column, Floats
from webapp.series.points import LEAST, MOST, Axis, Loom, Mask, Strand


@dataclass(eq=False)
class Part:
    """Steps [low, high] of one key in one attempt: what is known of its chunks, if there are any,
    and its tail.

    `numbers`: of an attempt that went back in the middle of its log, the sequence numbers [first,
    end) that count; buckets, which hold them all, are of no use then.
    """

    attempt: int
    low: int
    high: int
    known: Series | None
    strands: list[Strand]
    numbers: tuple[int, int] | None = None

    def counting(self, strands: Sequence[Strand]) -> list[Strand]:
        """What counts of `strands`."""
        if self.numbers is None:
            return list(strands)
        first, end = self.numbers
        masks = [(strand.places.seq >= first) & (strand.places.seq < end) for strand in strands]
        return [
            Strand(one.places.take(mask), one.values[mask])
            for one, mask in zip(strands, masks, strict=True)
            if mask.any()
        ]

    def narrow(self, low: int = LEAST, high: int = MOST) -> None:
        self.low, self.high = max(self.low, low), min(self.high, high)

    def extent(self) -> tuple[int, int] | None:
        """Between which steps it lies within its limits; None if nowhere."""
        steps = [
            step
            for strand in self.strands
            for step in (int(strand.places.step.min()), int(strand.places.step.max()))
        ]
        if self.known is not None:
            steps += [self.known.first_step, self.known.last_step]
        if not steps:
            return None
        low, high = max(self.low, min(steps)), min(self.high, max(steps))
        return (low, high) if low <= high else None


@dataclass(eq=False)
class Curve:
    """The live branch of one key of a run, oldest attempt first."""

    run: Run
    key: str
    parts: list[Part]

    def extent(self) -> tuple[int, int] | None:
        found = [extent for part in self.parts if (extent := part.extent())]
        return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def curves(
    runs: Iterable[Run],
    keys: Sequence[str] | None,
    past: int | None = None,
    abandoned: bool = False,
) -> list[Curve]:
    """Those of `keys` (None: all) that each run has, sorted by name.

    With `past` the tails hold only batches past that one; with `abandoned` every attempt is there
    up to its end.
    """
    runs = list(runs)
    ids = [run.pk for run in runs]
    stretches, tails = branches.segments_by_run(runs), tail.tails(ids, past)
    known = {(one.run_id, one.attempt, one.key): one for one in _folded(ids, keys)}
    present: dict[int, set[str]] = defaultdict(set)
    for run_id, _, key in known:
        present[run_id].add(key)
    for (run_id, _), waiting in tails.items():
        present[run_id] |= waiting.keys() if keys is None else waiting.keys() & set(keys)
    found = []
    for run in runs:
        for key in sorted(present[run.pk]):
            parts = []
            for stretch in _whole(stretches[run.pk]) if abandoned else stretches[run.pk]:
                series = known.get((run.pk, stretch.attempt, key))
                strands = tail.strands(tails.get((run.pk, stretch.attempt)), series, key)
                parts += _cut(
                    Part(
                        stretch.attempt,
                        LEAST,
                        MOST if stretch.last is None else stretch.last,
                        series,
                        strands,
                    ),
                    stretch,
                )
            found.append(Curve(run, key, parts))
    return found


def _folded(runs: Sequence[int], keys: Sequence[str] | None) -> list[Series]:
    fields = [field.attname for field in Series._meta.concrete_fields]
    wanted = "" if keys is None else "AND key = ANY(%(keys)s)"
    with connection.cursor() as cursor:
        sql = (
            f"SELECT {', '.join(fields)} FROM metrics_series WHERE run_id = ANY(%(runs)s) {wanted}"
        )
        cursor.execute(sql, {"runs": list(runs), "keys": list(keys or ())})
        return [Series.from_db(connection.alias, fields, row) for row in cursor.fetchall()]


def _whole(stretches: Iterable[branches.BranchSegment]) -> list[branches.BranchSegment]:
    """Every attempt up to its end."""
    return [
        branches.BranchSegment(number, None)
        for number in dict.fromkeys(one.attempt for one in stretches)
    ]


def _cut(part: Part, stretch: branches.BranchSegment) -> list[Part]:
    """`part` as far as it belongs to the stretch: nothing, all of it, or some sequence numbers."""
    seqs = [
        seq
        for strand in part.strands
        for seq in (int(strand.places.seq.min()), int(strand.places.seq.max()))
    ]
    if part.known is not None:
        seqs += [part.known.least_seq, part.known.greatest_seq]
    first, end = stretch.first, MOST if stretch.end is None else stretch.end
    if not seqs or max(seqs) < first or min(seqs) >= end:
        return []
    if min(seqs) < first or max(seqs) >= end:
        part.numbers = (first, end)
        part.strands = part.counting(part.strands)
    return [part]


def grows(part: Part, axis: Axis, loom: Loom) -> bool:
    """Whether x on `axis` grows with the step over the whole attempt, so that buckets of steps lie
    in order on it.
    """
    return axis == "step" or bool(straight(part.known, loom.points(part.strands)) & STRAIGHT[axis])


def origin(run: Run, axis: Axis) -> float:
    """What x is counted from: the run's start, on the axis of time."""
    return run.started_at.timestamp() if axis == "time" and run.started_at else 0.0


@dataclass(frozen=True)
class Range:
    """x in [start, stop], both included, counted from `origin`."""

    start: float
    stop: float
    origin: float

    def holds(self, x: Column | Floats) -> Mask:
        place = x - self.origin
        return (place >= self.start) & (place <= self.stop)


# Of a series that grows along an axis each limit cuts at most one chunk; where the others begin and
# end is known without opening them.
LIMITS = """
SELECT place, min(first_step) FILTER (WHERE low BETWEEN start AND stop), max(last_step) FILTER (WHERE high BETWEEN start AND stop),
    array_agg(axis_id) FILTER (WHERE (low < start AND high >= start) OR (low <= stop AND high > stop))
FROM (
    SELECT place, start, stop, first_step, last_step, axis_id, low_{axis} - origin AS low, high_{axis} - origin AS high
    FROM unnest(%s::int8[], %s::float8[], %s::float8[], %s::float8[]) WITH ORDINALITY AS asked(series, start, stop, origin, place)
    JOIN metrics_chunk AS chunk ON chunk.series_id = asked.series JOIN metrics_axis AS axis ON axis.id = chunk.axis_id
) AS found GROUP BY place
"""


def limit(parts: Sequence[tuple[Part, Range]], axis: Axis) -> None:
    """Narrow each part, which grows along `axis`, to the steps whose x is in its range; not where
    the points are gone.
    """
    parts = [
        (part, wanted) for part, wanted in parts if part.known is None or not part.known.thinned
    ]
    folded = [(part, wanted) for part, wanted in parts if part.known is not None]
    inside: dict[int, list[Any]] = {}
    if folded:
        rows = [
            (part.known.pk, wanted.start, wanted.stop, wanted.origin)
            for part, wanted in folded
            if part.known is not None
        ]
        with connection.cursor() as cursor:
            cursor.execute(LIMITS.format(axis=axis), [*map(list, zip(*rows, strict=True))])
            inside = {id(folded[place - 1][0]): rest for place, *rest in cursor.fetchall()}
    cut = chunks.axes({axis_id for _, _, ids in inside.values() for axis_id in ids or ()})
    for part, wanted in parts:
        first, last, ids = inside.get(id(part), (None, None, None))
        steps = [step for step in (first, last) if step is not None]
        for places in [
            *(cut[one] for one in ids or ()),
            *(strand.places for strand in part.strands),
        ]:
            chosen = places.step[wanted.holds(places.on(axis))]
            steps += [int(chosen.min()), int(chosen.max())] if len(chosen) else []
        part.narrow(min(steps), max(steps)) if steps else part.narrow(MOST, LEAST)
