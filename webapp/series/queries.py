"""What is asked of a run's points besides a chart: which keys there are, the latest values, a
sketch, and a tag for caches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from webapp.base.snapshot import snapshot
from webapp.runs.models import Run
from webapp.series import chunks
from webapp.series.bucket_levels import Part as Buckets
from webapp.series.bucket_levels import fetch, levels
from webapp.series.charts import read
from webapp.series.curves import Curve, Part, curves, origin
from webapp.series.models import Series
from webapp.series.points import Axis, Loom
from webapp.series.tail import tails


def keys(run: Run) -> list[str]:
    """The names of all series of `run`, sorted."""
    with snapshot():
        waiting = set[str]().union(*(tail.keys() for tail in tails([run.pk]).values()))
        return sorted(waiting.union(Series.objects.filter(run=run).values_list("key", flat=True)))


def latest(run: Run, wanted: Sequence[str]) -> dict[str, float]:
    """The last value on the live branch of each wanted key that has one."""
    with snapshot():
        found = {curve.key: _last(curve) for curve in curves([run], wanted)}
    return {key: value for key, value in found.items() if value is not None}


def sparkline(run: Run, key: str, count: int) -> list[float]:
    """At most `count` values of the live branch, evenly over its steps: a sketch whose cost does
    not grow with the run.
    """
    found = read([run], [key], width=2 * count)
    values = found[0].last if found else []
    return (
        [
            values[place]
            for place in np.unique(
                np.linspace(0, len(values) - 1, min(count, len(values))).astype(int)
            )
        ]
        if values
        else []
    )


def etag(runs: Iterable[Run], *parts: object) -> str:
    """A tag that changes when any of the runs has news or the question (`parts`) differs."""
    state = "|".join([*(f"{run.public_id}:{run.batch_count}" for run in runs), *map(str, parts)])
    return f'"{hashlib.sha256(state.encode()).hexdigest()[:32]}"'


def seconds_per_step(run: Run, attempt: int) -> float | None:
    """Seconds per step over the attempt so far, evaluations and checkpoints included; None before
    two steps are measured.
    """
    with snapshot():
        parts = [
            part
            for curve in curves([run], ["loss"])
            for part in curve.parts
            if part.attempt == attempt
        ]
    ends = [end for part in parts for end in _ends(part)]
    if not ends or min(ends)[0] == max(ends)[0]:
        return None
    (first, began), (last, ended) = min(ends), max(ends)
    return max(0.0, (ended - began) / (last - first))


def axis_positions(run: Run, key: str, axis: Axis, steps: Iterable[int]) -> dict[int, float]:
    """Where each of `steps` lies on `axis`, for those at which `key` was recorded."""
    wanted, found = sorted(set(steps)), dict[int, float]()
    with snapshot():
        for curve in curves([run], [key]):
            for part in curve.parts:
                inside = [step for step in wanted if part.low <= step <= part.high]
                stretches = (
                    []
                    if part.known is None
                    else [chunks.Stretch(part.known.pk, step, step) for step in inside]
                )
                strands = [strand for found in chunks.fetch(stretches) for strand in found]
                for strand in [*part.counting(strands), *part.strands]:
                    at = np.flatnonzero(np.isin(strand.places.step, inside))
                    for step, x in zip(
                        strand.places.step[at].tolist(),
                        strand.places.on(axis)[at].tolist(),
                        strict=True,
                    ):
                        found[step] = min(found.get(step, x), x)
    return {step: x - origin(run, axis) for step, x in found.items()}


def sequence_numbers(run: Run, attempt: int) -> set[int]:
    """The number of every event of an attempt that has values in the store, by what is in the
    store.
    """
    with snapshot():
        waiting = [
            group.places
            for place, tail in tails([run.pk]).items()
            if place[1] == attempt
            for group in tail.groups
        ]
        folded = chunks.axes_of(run.pk, attempt)
    return {number for found in [*waiting, *folded] for number in found.seq.tolist()}


Last = tuple[int, int, int, float]


def _last(curve: Curve) -> float | None:
    """The value of the greatest (step, attempt, seq)."""
    loom = Loom()
    found: list[Last] = []
    for part in curve.parts:
        points = loom.points(part.strands, part.low, part.high)
        if len(points):
            found.append(
                (
                    int(points.places.step[-1]),
                    part.attempt,
                    int(points.places.seq[-1]),
                    float(points.values[-1]),
                )
            )
        if part.known is not None and part.known.first_step <= part.high:
            found += _last_folded(part, part.known, loom)
    return max(found, key=lambda last: last[:3])[3] if found else None


def _last_folded(part: Part, known: Series, loom: Loom) -> list[Last]:
    if known.last_step <= part.high and part.numbers is None:
        return [(known.last_step, part.attempt, known.last_seq, known.last_value)]
    if known.thinned:
        level = levels(known)[0]
        (buckets,) = fetch([Buckets(known.pk, level, high=part.high >> level)])
        columns = (buckets.last_step, buckets.last_seq, buckets.last)
        return [
            (step, part.attempt, seq, value)
            for step, seq, value in zip(*(column.tolist() for column in columns), strict=True)
        ][-1:]
    if part.numbers is None:
        strands = chunks.ending(known, part.high)
    else:
        (strands,) = chunks.fetch([chunks.Stretch(known.pk, part.low, part.high)])
    points = loom.points(part.counting(strands), high=part.high)
    return (
        [
            (
                int(points.places.step[-1]),
                part.attempt,
                int(points.places.seq[-1]),
                float(points.values[-1]),
            )
        ]
        if len(points)
        else []
    )


def _ends(part: Part) -> list[tuple[int, float]]:
    """(step, wall time) of the first and the last point of a part."""
    points = Loom().points(part.strands)
    found = [
        (int(points.places.step[at]), float(points.places.wall_time[at]))
        for at in ((0, -1) if len(points) else ())
    ]
    if part.known is not None:
        found += [
            (part.known.first_step, part.known.first_time),
            (part.known.last_step, part.known.last_time),
        ]
    return found
