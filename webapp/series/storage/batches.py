"""Batches: the rows of one append, grouped by keys and packed as columns, until they are folded.

The batches of an attempt that are not folded yet are its *tail*.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db import connection

from webapp.series.models import Series
from webapp.series.storage import chunks
from webapp.series.storage.packing import Floats, exact_single, pack, unpack
from webapp.series.storage.points import (
    INT64_MIN,
    NO_POSITIONS,
    KeyValues,
    Positions,
    concat_values,
    duplicate_mask,
    joined,
)

# The width of the column `Series.key`.
KEY_LENGTH = 120
SIZES = struct.Struct("<I")
Rows = Iterable[dict[str, Any]]
# Of attempts that count rows by content all batches are read, also with `past`: a repetition is
# only found by comparing with what came before.
WAITING = """
SELECT batch.run_id, batch.attempt, batch.batch_number, batch.data, log.content
FROM metrics_batch AS batch JOIN metrics_log AS log USING (run_id, attempt)
WHERE batch.run_id = ANY(%(runs)s) AND (log.content OR batch.batch_number > %(past)s)
ORDER BY batch.attempt, batch.batch_number, batch.id
"""


@dataclass(frozen=True, eq=False)
class RowGroup:
    """Rows with the same keys: positions [n] and values [keys, n]."""

    keys: tuple[str, ...]
    positions: Positions
    values: Floats

    @cached_property
    def rows(self) -> dict[str, Floats]:
        """The values [n] of each key."""
        return dict(zip(self.keys, self.values, strict=True))


def group_rows(rows: Rows, content: bool) -> list[RowGroup]:
    """Group `rows` by their keys, each group in the order of arrival.

    A row has `values`, `step` and `wall_time`, and may have `tokens` and `compute`. With `content`
    its wall time in microseconds is used as `seq`. The strings "NaN", "Infinity" and "-Infinity"
    become floats; keys are cut to KEY_LENGTH characters.
    """
    by_keys: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["values"]:
            by_keys.setdefault(tuple(row["values"]), []).append(row)
    # One array of each column for all groups: many groups of a row or two are common.
    positions = _positions([row for same in by_keys.values() for row in same], content)
    groups, end = [], 0
    for keys, same in by_keys.items():
        begin, end = end, end + len(same)
        values = np.array([[float(value) for value in row["values"].values()] for row in same]).T
        groups.append(_with_short_keys(RowGroup(keys, positions.take(slice(begin, end)), values)))
    return groups


def row_count(groups: Iterable[RowGroup]) -> int:
    """Return the number of rows of the key that has the most.

    Not of all rows: a client that sends each of many metrics as a row of its own would have its
    tail folded with every request, and each time all of its series be rewritten for a few points.
    """
    counts: Counter[str] = Counter()
    for group in groups:
        for key in group.keys:
            counts[key] += len(group.positions)
    return max(counts.values(), default=0)


def encode_groups(groups: Sequence[RowGroup]) -> bytes:
    """Return groups as bytes, the columns of all groups one after the other.

    Keys whose values all fit float32 exactly take half as much.
    """
    heads: list[tuple[list[str], int, int]] = []
    narrow_values, wide_values = [np.empty(0)], [np.empty(0)]
    all_values = np.concatenate([np.empty(0), *(group.values.ravel() for group in groups)])
    exact, end = exact_single(all_values), 0
    for group in groups:
        begin, end = end, end + group.values.size
        # A value that needs 64 bits would widen the column of all keys: such keys are packed apart.
        rows = exact[begin:end].reshape(group.values.shape)
        narrow: npt.NDArray[np.bool_] = np.all(rows, axis=1)
        narrow_values.append(group.values[narrow].ravel())
        wide_values.append(group.values[~narrow].ravel())
        order = [*np.flatnonzero(narrow), *np.flatnonzero(~narrow)]
        keys = [group.keys[index] for index in order]
        heads.append((keys, len(group.positions), int(narrow.sum())))
    positions = joined([NO_POSITIONS, *(group.positions for group in groups)])
    body = pack([*positions.columns(), np.concatenate(narrow_values), np.concatenate(wide_values)])
    head = json.dumps({"groups": heads}, separators=(",", ":")).encode()
    return b"".join([SIZES.pack(len(head)), head, body])


def decode_groups(data: bytes | memoryview, wanted: frozenset[str] | None = None) -> list[RowGroup]:
    """Return the groups that `encode_groups` was given, only of `wanted` keys if given.

    Their keys may be in another order. Nothing is unpacked if there is no wanted key.
    """
    data = memoryview(data)
    head, start = _head(data)
    if isinstance(head, list):
        return _decode_apart(data[start:], head, wanted)
    heads = head["groups"]
    if not any(_has(keys, wanted) for keys, _, _ in heads):
        return []
    *columns, narrow_values, wide_values = unpack(data[start:])
    groups = []
    row = narrow_end = wide_end = 0
    for keys, count, narrow in heads:
        begin, row = row, row + count
        narrow_begin, narrow_end = narrow_end, narrow_end + narrow * count
        wide_begin, wide_end = wide_end, wide_end + (len(keys) - narrow) * count
        if _has(keys, wanted):
            positions = Positions(*(column[begin:row] for column in columns))
            values = narrow_values[narrow_begin:narrow_end], wide_values[wide_begin:wide_end]
            groups.append(_only(keys, positions, values, wanted))
    return groups


def _decode_apart(
    data: memoryview, heads: list[Any], wanted: frozenset[str] | None
) -> list[RowGroup]:
    """Return the groups of a batch of an earlier version, which packed each group by itself."""
    groups, start = [], 0
    for keys, _, length in heads:
        if _has(keys, wanted):
            *columns, narrow, wide = unpack(data[start : start + length])
            groups.append(_only(keys, Positions(*columns), (narrow, wide), wanted))
        start += length
    return groups


def _has(keys: Sequence[str], wanted: frozenset[str] | None) -> bool:
    return wanted is None or not wanted.isdisjoint(keys)


def _only(
    keys: Sequence[str],
    positions: Positions,
    values: tuple[Floats, Floats],
    wanted: frozenset[str] | None,
) -> RowGroup:
    """Return the group without keys that are not wanted."""
    by_key = np.concatenate(values).reshape(len(keys), len(positions))
    index = [i for i, key in enumerate(keys) if wanted is None or key in wanted]
    if len(index) == len(keys):
        return RowGroup(tuple(keys), positions, by_key)
    return RowGroup(tuple(keys[i] for i in index), positions, by_key[index])


def _head(data: memoryview) -> tuple[Any, int]:
    """Return the head of a batch and where its body begins.

    `{"groups": [[keys, rows, number of keys in float32], ...]}`; of an earlier version
    `[[keys, rows, length of the group in bytes], ...]`.
    """
    (size,) = SIZES.unpack_from(data)
    start = SIZES.size + size
    return json.loads(bytes(data[SIZES.size : start])), start


def encoded_keys(data: bytes | memoryview) -> set[str]:
    """Return the keys of a batch without unpacking it."""
    head, _ = _head(memoryview(data))
    heads = head if isinstance(head, list) else head["groups"]
    return {key for keys, _, _ in heads for key in keys}


def merge_groups(groups: Iterable[RowGroup]) -> list[RowGroup]:
    """Merge groups with the same set of keys, in the order given."""
    by_keys: dict[tuple[str, ...], list[RowGroup]] = {}
    for group in groups:
        # Clients name the same keys in any order, and `encode_groups` changes it.
        order = sorted(range(len(group.keys)), key=group.keys.__getitem__)
        keys = tuple(group.keys[index] for index in order)
        by_keys.setdefault(keys, []).append(RowGroup(keys, group.positions, group.values[order]))
    return [
        RowGroup(
            keys,
            joined([group.positions for group in same_keys]),
            np.concatenate([group.values for group in same_keys], axis=1),
        )
        if len(same_keys) > 1
        else same_keys[0]
        for keys, same_keys in by_keys.items()
    ]


def _positions(rows: Sequence[dict[str, Any]], content: bool) -> Positions:
    wall_times = np.array([float(row["wall_time"]) for row in rows])
    return Positions(
        np.rint(wall_times * 1e6).astype(np.int64)
        if content
        else _int64(row["seq"] for row in rows),
        _int64(row["step"] for row in rows),
        _int64(row.get("tokens") or 0 for row in rows),
        np.array([float(row.get("compute") or 0.0) for row in rows]),
        wall_times,
    )


def _with_short_keys(group: RowGroup) -> RowGroup:
    """Return the group with keys of at most KEY_LENGTH; of those alike then, the first."""
    if max(map(len, group.keys)) <= KEY_LENGTH:
        return group
    short = [key[:KEY_LENGTH] for key in group.keys]
    index = [i for i, key in enumerate(short) if key not in short[:i]]
    return RowGroup(tuple(short[i] for i in index), group.positions, group.values[index])


def _int64(numbers: Iterable[Any]) -> npt.NDArray[np.int64]:
    return np.array([int(number) for number in numbers], np.int64)


@dataclass(frozen=True)
class Tail:
    """Groups of one attempt that are not folded yet, oldest first.

    With `content`, repetitions within the tail or of the groups `before` are dropped when read.
    """

    groups: Sequence[RowGroup]
    content: bool
    before: Sequence[RowGroup] = ()

    def keys(self) -> set[str]:
        return {key for group in self.groups for key in group.keys}


def tails(
    runs: Collection[int], past: int | None = None, keys: Collection[str] | None = None
) -> dict[tuple[int, int], Tail]:
    """Return the tail of each (run, attempt) that has one.

    Only batches after `past` and only `keys`, if given.
    """
    wanted = None if keys is None else frozenset(keys)
    groups: dict[tuple[int, int], tuple[list[RowGroup], list[RowGroup]]] = {}
    content = set()
    with connection.cursor() as cursor:
        cursor.execute(WAITING, {"runs": list(runs), "past": INT64_MIN if past is None else past})
        for run, attempt, batch_number, data, by_content in cursor.fetchall():
            log_key = (run, attempt)
            if by_content:
                content.add(log_key)
            is_before = past is not None and batch_number <= past
            groups.setdefault(log_key, ([], []))[is_before].extend(decode_groups(data, wanted))
    return {
        log_key: Tail(merge_groups(new), log_key in content, before)
        for log_key, (new, before) in groups.items()
    }


def tail_keys(run: int) -> set[str]:
    """Return the keys of the tails of a run."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT data FROM metrics_batch WHERE run_id = %s", [run])
        return {key for (data,) in cursor.fetchall() for key in encoded_keys(data)}


def value_parts(
    wanted: Sequence[tuple[Tail | None, Series | None, str]],
) -> list[list[KeyValues]]:
    """Return the tail of each key, without repetitions of itself or of the chunks of its series.

    All chunks that are compared are read in one query, however many keys there are.
    """
    tail_values = [_values_of_key(tail.groups, key) if tail else [] for tail, _, key in wanted]
    joined_values = {
        index: concat_values(tail_values[index])
        for index, (tail, _, _) in enumerate(wanted)
        if tail is not None and tail.content and tail_values[index]
    }
    compared = [
        (index, series)
        for index in joined_values
        if (series := wanted[index][1]) is not None
        and _may_repeat(series, joined_values[index].positions)
    ]
    chunk_values = chunks.overlapping(
        [(series, joined_values[index].positions) for index, series in compared]
    )
    before = {
        index: chunk_parts for (index, _), chunk_parts in zip(compared, chunk_values, strict=True)
    }
    for index, values in joined_values.items():
        tail, _, key = wanted[index]
        assert tail is not None
        earlier = [*_values_of_key(tail.before, key), *before.get(index, ())]
        duplicates = duplicate_mask(values, concat_values(earlier))
        if duplicates.any():
            kept = KeyValues(values.positions.take(~duplicates), values.values[~duplicates])
            tail_values[index] = [] if duplicates.all() else [kept]
    return tail_values


def _may_repeat(series: Series, positions: Positions) -> bool:
    """Return whether chunks of the series may hold points at these positions.

    If wall time never falls and the positions are later than all chunks, none can.
    """
    is_later = positions.wall_time.min() > series.last_time
    return not (series.monotonic_axes & 4 and is_later)


def _values_of_key(groups: Iterable[RowGroup], key: str) -> list[KeyValues]:
    return [KeyValues(group.positions, group.rows[key]) for group in groups if key in group.rows]
