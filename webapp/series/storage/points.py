"""Points as columns: positions, shared by all keys of the same rows, and the values of each key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from webapp.series.storage.packing import Column, Floats, Ints

Axis = Literal["step", "tokens", "time", "compute"]
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Positions:
    """Positions of n points, one column for each axis.

    `seq` orders points of one step; `wall_time` is in Unix seconds.
    """

    seq: Ints
    step: Ints
    tokens: Ints
    compute: Floats
    wall_time: Floats

    def __len__(self) -> int:
        return len(self.step)

    def columns(self) -> tuple[Column, ...]:
        return (self.seq, self.step, self.tokens, self.compute, self.wall_time)

    def on(self, axis: Axis) -> Column:
        return self.wall_time if axis == "time" else getattr(self, axis)

    def take(self, index: npt.NDArray[np.generic] | slice) -> Positions:
        return Positions(*(column[index] for column in self.columns()))

    def order(self) -> Ints | None:
        """Return the indices that sort by (step, seq), or None if already sorted."""
        ascending = (self.step[1:] > self.step[:-1]) | (
            (self.step[1:] == self.step[:-1]) & (self.seq[1:] >= self.seq[:-1])
        )
        return None if ascending.all() else np.lexsort((self.seq, self.step))

    def within(self, low: int, high: int) -> Mask | None:
        """Return a mask of the points in steps [low, high], or None if all are."""
        mask = (self.step >= low) & (self.step <= high)
        return None if mask.all() else mask


def joined(groups: Sequence[Positions]) -> Positions:
    # The object itself, so that work on it is still shared by identity.
    if len(groups) == 1:
        return groups[0]
    return Positions(
        *(
            np.concatenate(columns)
            for columns in zip(*(group.columns() for group in groups), strict=True)
        )
    )


_EMPTY: list[Column] = [
    np.empty(0, dtype) for dtype in (np.int64, np.int64, np.int64, np.float64, np.float64)
]
NO_POSITIONS = Positions(*_EMPTY)


@dataclass(frozen=True, eq=False)
class KeyValues:
    """Values of one key at `positions`; keys logged together share the Positions object."""

    positions: Positions
    values: Floats


def concat_values(value_parts: Sequence[KeyValues]) -> KeyValues:
    """Return the concatenation of several KeyValues."""
    if not value_parts:
        return KeyValues(NO_POSITIONS, np.empty(0))
    return KeyValues(
        joined([key_values.positions for key_values in value_parts]),
        np.concatenate([key_values.values for key_values in value_parts]),
    )


@dataclass(frozen=True, eq=False)
class Points(KeyValues):
    """KeyValues in order of (step, seq)."""

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: npt.NDArray[np.generic] | slice) -> Points:
        return Points(self.positions.take(index), self.values[index])


class Merger:
    """Merges KeyValues in order of (step, seq).

    The order is computed once for all keys with the same positions, and the same Positions objects
    in give the same object out, so that later steps can share work by identity too.
    """

    def __init__(self) -> None:
        self._cache: dict[
            tuple[int, ...], tuple[tuple[Positions, ...], Positions, npt.NDArray[np.generic] | None]
        ] = {}

    def points(
        self, value_parts: Sequence[KeyValues], low: int = INT64_MIN, high: int = INT64_MAX
    ) -> Points:
        """Return the points of `value_parts` in steps [low, high]."""
        if not value_parts:
            return Points(NO_POSITIONS, np.empty(0))
        sources = tuple(key_values.positions for key_values in value_parts)
        key = (low, high, *map(id, sources))
        if key not in self._cache:
            # Holds the sources, so that their ids are not used again for other objects.
            self._cache[key] = (sources, *_merge(sources, low, high))
        _, positions, index = self._cache[key]
        values = (
            value_parts[0].values
            if len(value_parts) == 1
            else np.concatenate([key_values.values for key_values in value_parts])
        )
        return Points(positions, values if index is None else values[index])


def _merge(
    sources: Sequence[Positions], low: int, high: int
) -> tuple[Positions, npt.NDArray[np.generic] | None]:
    positions = joined(sources)
    mask = positions.within(low, high)
    index: npt.NDArray[np.generic] | None = None if mask is None else np.flatnonzero(mask)
    if index is not None:
        positions = positions.take(index)
    order = positions.order()
    if order is None:
        return positions, index
    return positions.take(order), order if index is None else index[order]


def duplicate_mask(key_values: KeyValues, earlier: KeyValues) -> Mask:
    """Return which points are in `earlier`, or came before in `key_values` itself.

    Points are equal if step, wall time and value are equal bit for bit, except that -0 equals 0.
    """
    step, moment, value = (
        np.concatenate(columns)
        for columns in (
            (earlier.positions.step, key_values.positions.step),
            (
                earlier.positions.wall_time.view(np.int64),
                key_values.positions.wall_time.view(np.int64),
            ),
            # -0 + 0 is 0; the bits of every other number stay as they are.
            (
                (earlier.values + 0.0).view(np.int64),
                (key_values.values + 0.0).view(np.int64),
            ),
        )
    )
    # A stable sort: of equal points the earlier one is first.
    order = np.lexsort((value, moment, step))
    duplicates = np.zeros(len(step), bool)
    same = [column[order[1:]] == column[order[:-1]] for column in (step, moment, value)]
    duplicates[order[1:]] = np.logical_and.reduce(same)
    return duplicates[len(earlier.values) :]
