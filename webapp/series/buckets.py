"""What a chart needs of many points: bucket by bucket the extremes, the mean, the count, the last
value and what is not finite.

Bucket `index` of 2^bits steps holds the steps index · 2^bits to (index + 1) · 2^bits - 1, so that
buckets stay where they are while a run grows. Buckets merge in any order: late points are buckets
of their own until they are merged. Means are over finite values; those of the axes are over all
points, as is the last value, which is that of the greatest (step, seq). A bucket without finite
values has count 0, min +inf, max -inf and mean 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from webapp.series.packing import Column, Floats, Ints, pack, unpack
from webapp.series.points import Axis, Places, Points


@dataclass(frozen=True, eq=False)
class Buckets:
    """Columns of one length, in order of `index`. `count`: finite values; `nan`, `plus`, `minus`:
    the others.
    """

    index: Ints
    count: Ints
    nan: Ints
    plus: Ints
    minus: Ints
    min: Floats
    max: Floats
    mean: Floats
    last: Floats
    last_step: Ints
    last_seq: Ints
    step: Floats
    tokens: Floats
    compute: Floats
    wall_time: Floats

    def __len__(self) -> int:
        return len(self.index)

    def columns(self) -> tuple[Column, ...]:
        return tuple(vars(self).values())

    def on(self, axis: Axis) -> Floats:
        return self.wall_time if axis == "time" else getattr(self, axis)

    def take(self, which: np.ndarray | slice) -> Buckets:
        return Buckets(*(column[which] for column in self.columns()))

    def broken(self) -> Ints:
        """Values that are not finite, by bucket."""
        return self.nan + self.plus + self.minus

    def total(self) -> Ints:
        return self.count + self.broken()

    def coarser(self, by: int) -> Buckets:
        """The same buckets under the indices of buckets 2^by times as wide; those of one index are
        not merged yet.
        """
        return replace(self, index=self.index >> by)


_EMPTY: list[Column] = [
    np.empty(0, np.int64 if at < 5 or at in (9, 10) else np.float64) for at in range(15)
]
NONE = Buckets(*_EMPTY)


def packed(buckets: Buckets) -> bytes:
    return pack(buckets.columns())


def unpacked(data: bytes) -> Buckets:
    return Buckets(*unpack(data))


class Grid:
    """Places in order of `index`, cut where it changes: what the buckets of all keys at those
    places share.
    """

    def __init__(self, places: Places, index: Ints) -> None:
        self.starts = (
            np.flatnonzero(np.diff(index, prepend=index[0] - 1))
            if len(index)
            else np.empty(0, np.int64)
        )
        self.total = np.diff(self.starts, append=len(index))
        self.ends = self.starts + self.total - 1
        self.index = index[self.starts]
        self.last_step, self.last_seq = places.step[self.ends], places.seq[self.ends]
        self.axes = [self.means(column.astype(np.float64)) for column in places.columns()[1:]]

    def means(self, column: Floats) -> Floats:
        return _means(column, self.starts, self.total)

    def buckets(self, values: Floats) -> Buckets:
        """The buckets of the values of one key."""
        if not len(values):
            return NONE
        last = values[self.ends]
        if np.isfinite(values).all():
            none = np.zeros(len(self.starts), np.int64)
            low, high = (
                np.minimum.reduceat(values, self.starts),
                np.maximum.reduceat(values, self.starts),
            )
            return self._with(self.total, none, none, none, low, high, self.means(values), last)
        finite = np.isfinite(values)
        count, nan, plus, minus = (
            np.add.reduceat(mask.astype(np.int64), self.starts)
            for mask in (finite, np.isnan(values), values == np.inf, values == -np.inf)
        )
        low = np.minimum.reduceat(np.where(finite, values, np.inf), self.starts)
        high = np.maximum.reduceat(np.where(finite, values, -np.inf), self.starts)
        return self._with(
            count,
            nan,
            plus,
            minus,
            low,
            high,
            _means(np.where(finite, values, 0.0), self.starts, count),
            last,
        )

    def _with(self, *columns: Column) -> Buckets:
        every: list[Column] = [self.index, *columns, self.last_step, self.last_seq, *self.axes]
        return Buckets(*every)


class Grids:
    """Buckets of points by step; grids are shared by the keys that share places."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[Places, Grid]] = {}

    def buckets(self, points: Points, bits: int) -> Buckets:
        key = (id(points.places), bits)
        if key not in self._known:
            self._known[key] = (points.places, Grid(points.places, points.places.step >> bits))
        return self._known[key][1].buckets(points.values)


def joined(parts: Sequence[Buckets]) -> Buckets:
    """The buckets of all parts, one after the other."""
    if len(parts) < 2:
        return parts[0] if parts else NONE
    return Buckets(
        *(
            np.concatenate(columns)
            for columns in zip(*(part.columns() for part in parts), strict=True)
        )
    )


def merged(parts: Sequence[Buckets]) -> Buckets:
    """One bucket for each index among `parts`."""
    together = joined([part for part in parts if len(part)])
    if not len(together):
        return NONE
    sorted_ = together
    if not _in_order(together):
        sorted_ = together.take(np.lexsort((together.last_seq, together.last_step, together.index)))
    starts = np.flatnonzero(np.diff(sorted_.index, prepend=sorted_.index[0] - 1))
    if len(starts) == len(sorted_):
        return sorted_
    ends = np.append(starts[1:], len(sorted_)) - 1
    total = sorted_.total()
    count, all_points = np.add.reduceat(sorted_.count, starts), np.add.reduceat(total, starts)
    axes = (sorted_.step, sorted_.tokens, sorted_.compute, sorted_.wall_time)
    every: list[Column] = [
        sorted_.index[starts],
        count,
        *(np.add.reduceat(column, starts) for column in (sorted_.nan, sorted_.plus, sorted_.minus)),
        np.minimum.reduceat(sorted_.min, starts),
        np.maximum.reduceat(sorted_.max, starts),
        _means(sorted_.mean, starts, count, sorted_.count),
        sorted_.last[ends],
        sorted_.last_step[ends],
        sorted_.last_seq[ends],
        *(_means(column, starts, all_points, total) for column in axes),
    ]
    return Buckets(*every)


def _in_order(buckets: Buckets) -> bool:
    """Whether they stand in order of their indices, and where these are equal, of their last steps,
    none of which is equal.
    """
    index, step = np.diff(buckets.index), np.diff(buckets.last_step)
    return bool(((index > 0) | ((index == 0) & (step > 0))).all())


def _means(column: Floats, starts: Ints, total: Ints, weights: Ints | None = None) -> Floats:
    """Weighted means between `starts`; 0 where the weights sum to 0. Sums that overflow are made
    again of shares.
    """
    if not len(starts):
        return np.empty(0)
    divisor = np.maximum(total, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        means: Floats = (
            np.add.reduceat(column if weights is None else column * weights, starts) / divisor
        )
        if np.isfinite(means).all():
            return means
        share = np.repeat(1.0 / divisor, np.diff(starts, append=len(column)))
        again: Floats = np.add.reduceat(
            column * (share if weights is None else share * weights), starts
        )
    return np.where(np.isfinite(means), means, again)
