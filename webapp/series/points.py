"""Points as columns: where each lies, shared by all keys that were logged together, and the values
of a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from webapp.series.packing import Column, Floats, Ints

Axis = Literal["step", "tokens", "time", "compute"]
LEAST, MOST = -(2**63), 2**63 - 1
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Places:
    """Where points lie, each column of length n. `seq` orders points of one step; wall time is in
    Unix seconds.
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

    def take(self, which: npt.NDArray[np.generic] | slice) -> Places:
        return Places(*(column[which] for column in self.columns()))

    def order(self) -> Ints | None:
        """What sorts by (step, seq); None if that is the order already."""
        ahead = (self.step[1:] > self.step[:-1]) | (
            (self.step[1:] == self.step[:-1]) & (self.seq[1:] >= self.seq[:-1])
        )
        return None if ahead.all() else np.lexsort((self.seq, self.step))

    def within(self, low: int, high: int) -> Mask | None:
        """Which lie in steps [low, high]; None for all."""
        mask = (self.step >= low) & (self.step <= high)
        return None if mask.all() else mask


def joined(parts: Sequence[Places]) -> Places:
    if len(parts) == 1:
        return parts[0]
    return Places(
        *(
            np.concatenate(columns)
            for columns in zip(*(part.columns() for part in parts), strict=True)
        )
    )


_EMPTY: list[Column] = [
    np.empty(0, dtype) for dtype in (np.int64, np.int64, np.int64, np.float64, np.float64)
]
NOWHERE = Places(*_EMPTY)


@dataclass(frozen=True, eq=False)
class Strand:
    """Values of one key at some places. Strands of keys that were logged together hold the same
    `places` object.
    """

    places: Places
    values: Floats


def end_to_end(strands: Sequence[Strand]) -> Strand:
    """One strand after the other."""
    if not strands:
        return Strand(NOWHERE, np.empty(0))
    return Strand(
        joined([one.places for one in strands]), np.concatenate([one.values for one in strands])
    )


@dataclass(frozen=True, eq=False)
class Points(Strand):
    """A strand in order of (step, seq)."""

    def __len__(self) -> int:
        return len(self.values)

    def take(self, which: npt.NDArray[np.generic] | slice) -> Points:
        return Points(self.places.take(which), self.values[which])


class Loom:
    """Joins strands in order of (step, seq). What keys share is computed once: the same places in
    give the same places out.
    """

    def __init__(self) -> None:
        self._known: dict[
            tuple[int, ...], tuple[tuple[Places, ...], Places, npt.NDArray[np.generic] | None]
        ] = {}

    def points(self, strands: Sequence[Strand], low: int = LEAST, high: int = MOST) -> Points:
        """The points of `strands` in steps [low, high]."""
        if not strands:
            return Points(NOWHERE, np.empty(0))
        sources = tuple(strand.places for strand in strands)
        key = (low, high, *map(id, sources))
        if key not in self._known:
            self._known[key] = (
                sources,
                *_woven(sources, low, high),
            )  # keeps the sources, so that their ids stay theirs
        _, places, which = self._known[key]
        values = (
            strands[0].values
            if len(strands) == 1
            else np.concatenate([strand.values for strand in strands])
        )
        return Points(places, values if which is None else values[which])


def _woven(
    sources: Sequence[Places], low: int, high: int
) -> tuple[Places, npt.NDArray[np.generic] | None]:
    places = joined(sources)
    mask = places.within(low, high)
    which: npt.NDArray[np.generic] | None = None if mask is None else np.flatnonzero(mask)
    if which is not None:
        places = places.take(which)
    order = places.order()
    if order is None:
        return places, which
    return places.take(order), order if which is None else which[order]


def repeated(strand: Strand, known: Strand) -> Mask:
    """Which points of `strand` are in `known`, or earlier in itself: the same step, wall time and
    value.
    """
    step, moment, value = (
        np.concatenate([one, other])
        for one, other in (
            (known.places.step, strand.places.step),
            (known.places.wall_time.view(np.int64), strand.places.wall_time.view(np.int64)),
            ((known.values + 0.0).view(np.int64), (strand.values + 0.0).view(np.int64)),  # -0 is 0
        )
    )
    order = np.lexsort((value, moment, step))  # stable: what was known or came first stands first
    again = np.zeros(len(step), bool)
    same = [column[order[1:]] == column[order[:-1]] for column in (step, moment, value)]
    again[order[1:]] = np.logical_and.reduce(same)
    return again[len(known.values) :]
