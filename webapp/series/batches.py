"""What one append writes: rows that share their keys stand together as columns, packed into one
value.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from webapp.series.packing import Floats, exact_single, pack, unpack
from webapp.series.points import Places, joined

KEY_LENGTH = 120
SIZES = struct.Struct("<I")
Rows = Iterable[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Group:
    """Rows with the same keys: their places [n], and values [keys, n]."""

    keys: tuple[str, ...]
    places: Places
    values: Floats

    @cached_property
    def rows(self) -> dict[str, Floats]:
        """The values of each key."""
        return dict(zip(self.keys, self.values, strict=True))


def grouped(rows: Rows, content: bool) -> list[Group]:
    """`rows` as groups, each in the order of arrival.

    A row has `values`, `step` and `wall_time`, and may have `tokens` and `compute`. With `content`
    its wall time in microseconds serves as `seq`. "NaN" and the infinities become the floats they
    stand for; keys are cut to KEY_LENGTH characters.
    """
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["values"]:
            found.setdefault(tuple(row["values"]), []).append(row)
    return [_group(keys, together, content) for keys, together in found.items()]


def encoded(groups: Sequence[Group]) -> bytes:
    """Groups as bytes; values that fit float32 exactly, key by key, take half as much."""
    heads, bodies = [], []
    for group in groups:
        wide = ~exact_single(group.values).all(axis=1)
        order = np.argsort(wide, kind="stable")
        narrow = len(order) - int(wide.sum())
        sorted_ = group.values[order]
        bodies.append(
            pack([*group.places.columns(), sorted_[:narrow].ravel(), sorted_[narrow:].ravel()])
        )
        heads.append([[group.keys[at] for at in order], len(group.places), len(bodies[-1])])
    head = json.dumps(heads, separators=(",", ":")).encode()
    return b"".join([SIZES.pack(len(head)), head, *bodies])


def decoded(data: bytes | memoryview) -> list[Group]:
    """The groups that `encoded` was given, their keys perhaps in another order."""
    data = memoryview(data)
    (size,) = SIZES.unpack_from(data)
    at = SIZES.size + size
    found = []
    for keys, count, length in json.loads(bytes(data[SIZES.size : at])):
        *places, narrow, wide = unpack(data[at : at + length])
        values = np.concatenate([narrow, wide]).reshape(len(keys), count)
        found.append(Group(tuple(keys), Places(*places), values))
        at += length
    return found


def together(groups: Iterable[Group]) -> list[Group]:
    """One group for each set of keys, in the order given."""
    found: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        order = sorted(range(len(group.keys)), key=group.keys.__getitem__)
        keys = tuple(group.keys[at] for at in order)
        found.setdefault(keys, []).append(Group(keys, group.places, group.values[order]))
    return [
        Group(
            keys,
            joined([one.places for one in same]),
            np.concatenate([one.values for one in same], axis=1),
        )
        if len(same) > 1
        else same[0]
        for keys, same in found.items()
    ]


def _group(keys: tuple[str, ...], rows: Sequence[dict[str, Any]], content: bool) -> Group:
    moments = np.array([float(row["wall_time"]) for row in rows])
    places = Places(
        np.rint(moments * 1e6).astype(np.int64) if content else _whole(row["seq"] for row in rows),
        _whole(row["step"] for row in rows),
        _whole(row.get("tokens") or 0 for row in rows),
        np.array([float(row.get("compute") or 0.0) for row in rows]),
        moments,
    )
    values = np.array([[float(value) for value in row["values"].values()] for row in rows]).T
    short = [key[:KEY_LENGTH] for key in keys]
    kept = (
        [at for at, key in enumerate(short) if key not in short[:at]]
        if max(map(len, keys)) > KEY_LENGTH
        else range(len(keys))
    )
    return Group(tuple(short[at] for at in kept), places, values[list(kept)])


def _whole(numbers: Iterable[Any]) -> npt.NDArray[np.int64]:
    return np.array([int(number) for number in numbers], np.int64)
