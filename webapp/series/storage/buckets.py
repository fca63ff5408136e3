"""Buckets of points: extremes, mean, count, last value and the number of values not finite.

Bucket `index` of 2^bits steps holds the steps index · 2^bits to (index + 1) · 2^bits - 1, so that
its edges do not move while a run grows. Buckets merge in any order: late points are buckets of
their own until they are merged. Means are over finite values; those of the axes are over all
points, as is the last value, which is that of the greatest (step, seq). A bucket without finite
values has count 0, min +inf, max -inf and mean 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from webapp.series.storage.packing import Column, Floats, Ints, pack, unpack
from webapp.series.storage.points import Axis, Points, Positions


@dataclass(frozen=True, eq=False)
class Buckets:
    """Columns of equal length, in order of `index`.

    `count` is the number of finite values; `nan`, `plus` and `minus` count NaN and the infinities.
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

    # The order of the fields is that of the stored columns.
    def columns(self) -> tuple[Column, ...]:
        return tuple(vars(self).values())

    def on(self, axis: Axis) -> Floats:
        return self.wall_time if axis == "time" else getattr(self, axis)

    def take(self, which: np.ndarray | slice) -> Buckets:
        return Buckets(*(column[which] for column in self.columns()))

    def not_finite(self) -> Ints:
        """Return the number of values that are not finite in each bucket."""
        return self.nan + self.plus + self.minus

    def total(self) -> Ints:
        return self.count + self.not_finite()

    def coarser(self, by: int) -> Buckets:
        """Return the buckets with the indices of buckets 2^by times as wide, not merged yet."""
        return replace(self, index=self.index >> by)


_EMPTY: list[Column] = [
    np.empty(0, np.int64 if index < 5 or index in (9, 10) else np.float64) for index in range(15)
]
NONE = Buckets(*_EMPTY)


def pack_buckets(buckets: Buckets) -> bytes:
    return pack(buckets.columns())


def unpack_buckets(data: bytes) -> Buckets:
    return Buckets(*unpack(data))


class BucketGrid:
    """Positions cut into buckets where `index` changes: what all keys at these positions share."""

    def __init__(self, positions: Positions, index: Ints) -> None:
        self.starts = (
            np.flatnonzero(np.diff(index, prepend=index[0] - 1))
            if len(index)
            else np.empty(0, np.int64)
        )
        self.total = np.diff(self.starts, append=len(index))
        self.ends = self.starts + self.total - 1
        self.index = index[self.starts]
        self.last_step, self.last_seq = positions.step[self.ends], positions.seq[self.ends]
        self.axes = [self.means(column.astype(np.float64)) for column in positions.columns()[1:]]

    def means(self, column: Floats) -> Floats:
        return _means(column, self.starts, self.total)

    def buckets(self, values: Floats) -> Buckets:
        """Return the buckets of the values [n] of one key."""
        if not len(values):
            return NONE
        last = values[self.ends]
        # The usual case, in fewer passes over the values.
        if np.isfinite(values).all():
            none = np.zeros(len(self.starts), np.int64)
            low = np.minimum.reduceat(values, self.starts)
            high = np.maximum.reduceat(values, self.starts)
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
        all_columns: list[Column] = [
            self.index,
            *columns,
            self.last_step,
            self.last_seq,
            *self.axes,
        ]
        return Buckets(*all_columns)


class GridCache:
    """Makes buckets of points by step; keys with the same positions share a grid."""

    def __init__(self) -> None:
        self._grids: dict[tuple[int, int], tuple[Positions, BucketGrid]] = {}

    def buckets(self, points: Points, bits: int) -> Buckets:
        key = (id(points.positions), bits)
        if key not in self._grids:
            # Keeps the positions, so that their id is not used again for another object.
            self._grids[key] = (
                points.positions,
                BucketGrid(points.positions, points.positions.step >> bits),
            )
        return self._grids[key][1].buckets(points.values)


def concat_buckets(groups: Sequence[Buckets]) -> Buckets:
    """Return the concatenation of several Buckets, not merged."""
    if len(groups) < 2:
        return groups[0] if groups else NONE
    return Buckets(
        *(
            np.concatenate(columns)
            for columns in zip(*(group.columns() for group in groups), strict=True)
        )
    )


def merge_buckets(groups: Sequence[Buckets]) -> Buckets:
    """Merge several Buckets, which may be in any order, into one bucket for each index."""
    combined = concat_buckets([group for group in groups if len(group)])
    if not len(combined):
        return NONE
    sorted_ = combined
    # Usually sorted by (index, last step) without equal pairs, which one pass finds; sorting
    # fifteen columns costs more.
    index, step = np.diff(combined.index), np.diff(combined.last_step)
    if not ((index > 0) | ((index == 0) & (step > 0))).all():
        sorted_ = combined.take(np.lexsort((combined.last_seq, combined.last_step, combined.index)))
    starts = np.flatnonzero(np.diff(sorted_.index, prepend=sorted_.index[0] - 1))
    if len(starts) == len(sorted_):
        return sorted_
    ends = np.append(starts[1:], len(sorted_)) - 1
    total = sorted_.total()
    count, all_points = np.add.reduceat(sorted_.count, starts), np.add.reduceat(total, starts)
    axes = (sorted_.step, sorted_.tokens, sorted_.compute, sorted_.wall_time)
    columns: list[Column] = [
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
    return Buckets(*columns)


def _means(column: Floats, starts: Ints, total: Ints, weights: Ints | None = None) -> Floats:
    """Return weighted means between `starts`; 0 where the weights sum to 0.

    Where a sum of large values overflows, each value is divided before it is added instead.
    """
    if not len(starts):
        return np.empty(0)
    # A bucket without finite values has total 0 and sum 0.
    divisor = np.maximum(total, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        means: Floats = (
            np.add.reduceat(column if weights is None else column * weights, starts) / divisor
        )
        if np.isfinite(means).all():
            return means
        share = np.repeat(1.0 / divisor, np.diff(starts, append=len(column)))
        means_of_shares: Floats = np.add.reduceat(
            column * (share if weights is None else share * weights), starts
        )
    return np.where(np.isfinite(means), means, means_of_shares)
