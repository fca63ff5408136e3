"""From curves to what is drawn: which buckets and which points to read, for all curves at once, and
how they become columns.

Of a curve whose x grows with the step, whole buckets come from the pyramid and only the buckets
that the edges of a range or of a stretch of the live branch cut are made of points. Another curve
is read whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from webapp.series import bucket_levels, chunks
from webapp.series.buckets import Buckets, Grid, Grids, merged
from webapp.series.curves import Curve, Part, Range
from webapp.series.packing import Floats, Ints
from webapp.series.points import Axis, Loom, Points, Strand, joined

Mark = tuple[float, float]


@dataclass(eq=False)
class Drawn:
    """Columns of what is drawn of one curve. `count`: values in the range."""

    x: Floats
    mean: Floats
    min: Floats
    max: Floats
    last: Floats
    count: int
    attempts: list[int]
    marks: list[Mark]


@dataclass(eq=False)
class Piece:
    """What is read of a part: buckets of a level, and points of stretches; then what was found."""

    part: Part
    level: bucket_levels.Part | None = None
    stretches: list[chunks.Stretch] = field(default_factory=list)
    buckets: list[Buckets] = field(default_factory=list)
    strands: list[list[Strand]] = field(default_factory=list)

    @property
    def thinned(self) -> bool:
        return self.part.known is not None and self.part.known.thinned


@dataclass(eq=False)
class Drawing:
    """A curve that is to be drawn over a range; `ordered` if x grows with the step in all its
    parts, which are then narrowed to it.
    """

    curve: Curve
    wanted: Range
    ordered: bool
    bits: int = 0
    pieces: list[Piece] = field(default_factory=list)
    drawn: Drawn | None = None

    @property
    def whole(self) -> bool:
        """Whether it is made of single points alone."""
        return all(piece.level is None for piece in self.pieces)


def draw(drawings: Sequence[Drawing], axis: Axis, width: int, loom: Loom) -> None:
    """Fill in `drawn`, where there is anything in the range."""
    for one in drawings:
        _plan(one, width)
    _read(drawings)
    sparse = [one for one in drawings if one.ordered and not one.whole and _few(one, loom, width)]
    for one in sparse:
        one.pieces = [_points_of(piece.part) for piece in one.pieces]
    _read(sparse)
    grids = Grids()
    for one in drawings:
        one.drawn = (
            _by_step(one, axis, width, loom, grids)
            if one.ordered
            else _by_x(one, axis, width, loom)
        )
    _mark([one for one in drawings if one.ordered and not one.whole], axis, width, loom)


def _plan(one: Drawing, width: int) -> None:
    extent = one.curve.extent()
    if extent is None:
        return
    while extent[1] - extent[0] > width << one.bits:
        one.bits += 1
    parts = [part for part in one.curve.parts if part.extent()]
    one.pieces = [_piece(part, one.bits) if one.ordered else _points_of(part) for part in parts]


def _piece(part: Part, bits: int) -> Piece:
    """Buckets that lie in the limits of `part` as a whole, and the points of those that its limits
    cut.
    """
    level = None if part.known is None else bucket_levels.level_for(part.known, bits)
    if part.known is None or level is None or part.known.thinned or part.numbers:
        return _points_of(part)
    low, high = -(-part.low >> level), (part.high + 1 >> level) - 1
    low = low if part.low > part.known.first_step else part.known.first_step >> level
    high = high if part.high < part.known.last_step else part.known.last_step >> level
    if low > high:
        return _points_of(part)
    cuts = [(part.low, (low << level) - 1), ((high + 1) << level, part.high)]
    cuts = [
        (start, stop)
        for start, stop in cuts
        if start <= stop and stop >= part.known.first_step and start <= part.known.last_step
    ]
    stretches = [chunks.Stretch(part.known.pk, start, stop) for start, stop in cuts]
    return Piece(part, bucket_levels.Part(part.known.pk, level, low, high), stretches)


def _points_of(part: Part) -> Piece:
    """All points of a part; if they are gone, its finest buckets."""
    if part.known is None:
        return Piece(part)
    if part.known.thinned:
        return Piece(part, bucket_levels.Part(part.known.pk, bucket_levels.levels(part.known)[0]))
    return Piece(part, None, [chunks.Stretch(part.known.pk, part.low, part.high)])


def _read(drawings: Sequence[Drawing]) -> None:
    """One query for all buckets, one for all chunks, one for the places that they share."""
    pieces = [piece for one in drawings for piece in one.pieces]
    levelled = [piece for piece in pieces if piece.level is not None]
    for piece, buckets in zip(
        levelled,
        bucket_levels.fetch([piece.level for piece in levelled if piece.level]),
        strict=True,
    ):
        piece.buckets = [buckets]
    strands = iter(chunks.fetch([stretch for piece in pieces for stretch in piece.stretches]))
    for piece in pieces:
        piece.strands = [next(strands) for _ in piece.stretches]


def _few(one: Drawing, loom: Loom, width: int) -> bool:
    """Whether buckets turn out to hold so little that the points themselves can be drawn."""
    if any(piece.thinned for piece in one.pieces):
        return False
    buckets = sum(int(part.total().sum()) for piece in one.pieces for part in piece.buckets)
    return (
        buckets <= width
        and buckets + sum(len(points) for piece in one.pieces for points in _points(piece, loom))
        <= width
    )


def _points(piece: Piece, loom: Loom) -> list[Points]:
    """The points that were read of a piece, each once: its tail belongs to the first stretch, or
    stands alone.
    """
    part = piece.part
    if piece.level is None:
        folded = part.counting([strand for strands in piece.strands for strand in strands])
        found = [loom.points([*folded, *part.strands], part.low, part.high)]
    else:
        cuts = zip(piece.stretches, piece.strands, strict=True)
        found = [loom.points(strands, stretch.low, stretch.high) for stretch, strands in cuts]
        found.append(loom.points(part.strands, part.low, part.high))
    return [points for points in found if len(points)]


def _by_step(one: Drawing, axis: Axis, width: int, loom: Loom, grids: Grids) -> Drawn | None:
    found = [(piece, _points(piece, loom)) for piece in one.pieces]
    if one.whole:
        parts = [(piece.part.attempt, points) for piece, all_ in found for points in all_]
        if sum(len(points) for _, points in parts) <= width:
            return singles(parts, one.wanted.origin, axis, width)
    by_attempt = [
        (
            piece.part.attempt,
            merged(
                [*_inside(piece, one, axis), *(grids.buckets(points, one.bits) for points in all_)]
            ),
        )
        for piece, all_ in found
    ]
    drawn = _columns(by_attempt, axis, one.wanted.origin)
    if drawn is not None and one.whole:
        drawn.marks = _marks(
            [points for _, all_ in found for points in all_], axis, one.wanted.origin, width
        )
    return drawn


def _inside(piece: Piece, one: Drawing, axis: Axis) -> Iterator[Buckets]:
    """The buckets of a piece at the width of the drawing. Where points are gone, those count that
    lie in the limits on average.
    """
    for buckets in piece.buckets:
        inside = buckets
        if piece.thinned:
            inside = buckets.take(
                (buckets.step >= piece.part.low)
                & (buckets.step <= piece.part.high)
                & one.wanted.holds(buckets.on(axis))
            )
        if piece.level is not None:
            level = piece.level.bits
            inside = (
                inside.coarser(one.bits - level)
                if one.bits >= level
                else replace(inside, index=inside.index << (level - one.bits))
            )
        yield inside


def _by_x(one: Drawing, axis: Axis, width: int, loom: Loom) -> Drawn | None:
    """Buckets of powers of two on the axis itself."""
    found: list[tuple[int, Points]] = []
    lumps: list[tuple[int, Buckets]] = []
    for piece in one.pieces:
        for points in _points(piece, loom):
            inside = one.wanted.holds(points.places.on(axis))
            found.append((piece.part.attempt, points.take(inside)))
        for buckets in piece.buckets:
            inside = (
                (buckets.step >= piece.part.low)
                & (buckets.step <= piece.part.high)
                & one.wanted.holds(buckets.on(axis))
            )
            lumps.append((piece.part.attempt, buckets.take(inside)))
    xs = [
        *(points.places.on(axis) for _, points in found),
        *(buckets.on(axis) for _, buckets in lumps),
    ]
    count = sum(map(len, xs))
    if not count or (count <= width and not lumps):
        return singles(found, one.wanted.origin, axis, width) if count else None
    x = np.concatenate(xs).astype(np.float64) - one.wanted.origin
    low, high = float(x.min()), float(x.max())
    size = 2.0 ** math.ceil(math.log2((high - low) / width)) if high > low else 1.0
    _, index = np.unique(np.floor(x / size), return_inverse=True)
    by_attempt, at = [], 0
    for attempt, points in found:
        by_attempt.append((attempt, _lumped(points, index[at : at + len(points)])))
        at += len(points)
    for attempt, buckets in lumps:
        by_attempt.append(
            (attempt, merged([replace(buckets, index=index[at : at + len(buckets)])]))
        )
        at += len(buckets)
    drawn = _columns(by_attempt, axis, one.wanted.origin)
    if drawn is not None:
        drawn.marks = _marks([points for _, points in found], axis, one.wanted.origin, width)
        drawn.marks += _marks_of_buckets(
            [buckets for _, buckets in lumps], axis, one.wanted.origin, width - len(drawn.marks)
        )
    return drawn


def _lumped(points: Points, index: Ints) -> Buckets:
    order = np.argsort(index, kind="stable")
    return Grid(points.places.take(order), index[order]).buckets(points.values[order])


def singles(
    parts: Sequence[tuple[int, Points]], origin: float, axis: Axis, width: int
) -> Drawn | None:
    """Every point, in order of (x, attempt, step, seq)."""
    points = [points for _, points in parts if len(points)]
    if not points:
        return None
    places, values = (
        joined([one.places for one in points]),
        np.concatenate([one.values for one in points]),
    )
    x = places.on(axis).astype(np.float64) - origin
    order = np.argsort(x, kind="stable")
    attempts = [attempt for attempt, one in parts if len(one)]
    y = values[order]
    return Drawn(
        x[order], y, y, y, y, len(y), sorted(set(attempts)), _marks(points, axis, origin, width)
    )


def _columns(by_attempt: Sequence[tuple[int, Buckets]], axis: Axis, origin: float) -> Drawn | None:
    """Buckets of several attempts as one curve; where they share a step, the later attempt has the
    last word.
    """
    filled = [(attempt, buckets) for attempt, buckets in by_attempt if len(buckets)]
    if not filled:
        return None
    ranked = [
        replace(buckets, last_seq=np.full(len(buckets), attempt)) for attempt, buckets in filled
    ]
    whole = merged(ranked) if len(ranked) > 1 else ranked[0]
    x = whole.on(axis) - origin
    if (np.diff(x) < 0).any():
        order = np.argsort(x, kind="stable")
        x, whole = x[order], whole.take(order)
    empty = whole.count == 0
    mean, low, high = (
        np.where(empty, whole.last, column) for column in (whole.mean, whole.min, whole.max)
    )
    return Drawn(
        x,
        mean,
        low,
        high,
        whole.last,
        int(whole.total().sum()),
        sorted({attempt for attempt, _ in filled}),
        [],
    )


def _mark(drawings: Sequence[Drawing], axis: Axis, width: int, loom: Loom) -> None:
    """The non-finite points of curves that come from buckets; only chunks that have any are
    opened.
    """
    kept = [
        piece
        for one in drawings
        for piece in one.pieces
        if piece.part.known is not None and piece.part.known.not_finite and not piece.thinned
    ]
    stretches = [
        chunks.Stretch(piece.part.known.pk, piece.part.low, piece.part.high)
        for piece in kept
        if piece.part.known
    ]
    strands = dict(zip(map(id, kept), chunks.fetch_broken(stretches, width), strict=True))
    for one in drawings:
        if one.drawn is not None:
            found = [
                loom.points(
                    [*piece.part.counting(strands.get(id(piece), ())), *piece.part.strands],
                    piece.part.low,
                    piece.part.high,
                )
                for piece in one.pieces
            ]
            one.drawn.marks = _marks(found, axis, one.wanted.origin, width)
            lumps = [
                buckets
                for piece in one.pieces
                if piece.thinned
                for buckets in _inside(piece, one, axis)
            ]
            one.drawn.marks += _marks_of_buckets(
                lumps, axis, one.wanted.origin, width - len(one.drawn.marks)
            )


def _marks(points: Sequence[Points], axis: Axis, origin: float, width: int) -> list[Mark]:
    found: list[Mark] = []
    for one in points:
        at = np.flatnonzero(~np.isfinite(one.values))
        found += zip(
            (one.places.on(axis)[at] - origin).tolist(), one.values[at].tolist(), strict=True
        )
    return sorted(found, key=lambda mark: mark[0])[:width]


def _marks_of_buckets(
    buckets: Sequence[Buckets], axis: Axis, origin: float, most: int
) -> list[Mark]:
    """One mark in each bucket for each kind of value that is not finite: all that is known where
    points are gone.
    """
    found = [
        (float(x), value)
        for one in buckets
        for column, value in ((one.nan, math.nan), (one.plus, math.inf), (one.minus, -math.inf))
        for x in one.on(axis)[column > 0] - origin
    ]
    return sorted(found, key=lambda mark: mark[0])[: max(0, most)]
