"""The key-value cache of the answers in progress, one row each, longest first.

All rows grow by one token per step, so their order by length never changes between two refills.
Neighbours have similar lengths: attention runs over a few slices of neighbouring rows, each as wide
as its first row, and computes little that is not needed. A row's tokens are in columns 0 … length −
1, without padding on the left.

Shapes: L layers, N rows, K key-value heads, C columns, D width of a head, G query heads of one
key-value head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# Free columns after the longest row, before the cache grows for the first time.
FIRST_COLUMNS = 32
# A slice of its own costs a few calls per layer and step. It is worth that if it saves reading so
# many numbers, by kind of device: a graphics card reads them faster, but its calls take longer.
SLICE_NUMBERS = {"cpu": 200_000, "cuda": 20_000_000}

Rows = NDArray[np.int64]


class Slice(NamedTuple):
    """Rows first … last − 1, of which the first has the most tokens."""

    first: int
    last: int


class RowCache:
    """Keys and values of rows.

    `layers` are L tensors [2, N, K, C, D], keys and then values; `lengths` [N] are of the rows'
    tokens and descend.
    """

    newest: Tensor
    bias: Tensor
    slices: list[Slice]

    def __init__(self, layers: list[Tensor], lengths_N: Rows) -> None:
        self.layers, self.lengths = layers, lengths_N
        self._update_positions()

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def longest(self) -> int:
        return int(self.lengths[0])

    def advance(self) -> None:
        """Extend every row by one column, for the newest token.

        The column is attended to from now on; `store` writes its keys and values.
        """
        # Doubling keeps the number of copies logarithmic in the length of an answer.
        if self.longest == self.layers[0].shape[-2]:
            for index, layer in enumerate(self.layers):
                self.layers[index] = F.pad(layer, (0, 0, 0, self.longest))
            self._update_positions()
        self.newest += 1
        self.bias.view(-1)[self.newest[0]] = 0
        self.lengths = self.lengths + 1

    def store(self, layer: int, keys_values: Tensor) -> None:
        """Write the newest keys and values [N, 2·K, D]."""
        width = keys_values.shape[-1]
        by_kind = keys_values.unflatten(1, (2, -1)).transpose(0, 1).reshape(-1, width)
        self.layers[layer].view(-1, width)[self.newest.view(-1)] = by_kind

    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        """Attend from the newest tokens with the query [N, K·G, D]; returns [N, K·G·D]."""
        mixed = [
            self._attend_slice(self.layers[layer], part, query[part.first : part.last], scale)
            for part in self.slices
        ]
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def _attend_slice(self, layer: Tensor, part: Slice, query: Tensor, scale: float) -> Tensor:
        heads, width = layer.shape[2], layer.shape[4]
        longest = int(self.lengths[part.first])
        keys, values = (
            kind[part.first : part.last].flatten(0, 1)[:, :longest] for kind in layer.unbind()
        )
        bias = self.bias[part.first * heads : part.last * heads, None, :longest]
        # The query heads of one key-value head stand side by side as if they were tokens: no copy
        # of the cache per head.
        grouped = query.reshape(len(keys), -1, width)
        scores = torch.baddbmm(bias, grouped, keys.transpose(1, 2), alpha=scale)
        return torch.bmm(scores.softmax(-1), values).view(len(query), -1)

    def _update_positions(self) -> None:
        """Recompute `slices`, and `newest` and `bias` from the rows' lengths.

        `newest` [2, N·K] is the flat position of each row's newest key and value in a layer viewed
        as [2·N·K·C, D]. `bias` [N·K, C] is added to the scores: 0 for a row's tokens, −∞ beyond.
        """
        layer = self.layers[0]
        heads, room = layer.shape[2:4]
        lengths = torch.from_numpy(self.lengths).to(layer.device).repeat_interleave(heads)
        keys = torch.arange(len(lengths), device=layer.device) * room + lengths - 1
        self.newest = torch.stack((keys, keys + len(lengths) * room))
        columns = torch.arange(room, device=layer.device)
        self.bias = layer.new_zeros(len(lengths), room).masked_fill_(
            columns >= lengths[:, None], -torch.inf
        )
        numbers_per_column = 2 * heads * layer.shape[4]
        least = SLICE_NUMBERS.get(layer.device.type, SLICE_NUMBERS["cuda"]) / numbers_per_column
        self.slices = _slices(self.lengths, 0, len(self.lengths), least)


class Part(NamedTuple):
    """Rows to take, perhaps repeatedly, from layers [2, M, K, C, D] with so many tokens [M]."""

    layers: list[Tensor]
    lengths: Rows
    rows: Rows


def joined(parts: Sequence[Part]) -> tuple[RowCache, Rows]:
    """The rows of all parts as one cache, and their order in it.

    The order is of the parts' rows one after another. The parts' layers are used up.
    """
    lengths = np.concatenate([part.lengths[part.rows] for part in parts])
    order = np.argsort(-lengths, kind="stable")
    places = np.split(np.argsort(order), np.cumsum([len(part.rows) for part in parts])[:-1])
    taken = [(part, places) for part, places in zip(parts, places, strict=True) if len(places)]
    layers = []
    while taken[0][0].layers:
        # A layer at a time, so that memory holds only one of them twice.
        layers.append(_joined_layer(taken, lengths))
    return RowCache(layers, lengths[order]), order


def _joined_layer(taken: Sequence[tuple[Part, Rows]], lengths: Rows) -> Tensor:
    """The next layer of the parts, whose rows go to the given places."""
    first = taken[0][0].layers[0]
    room = int(lengths.max()) + FIRST_COLUMNS
    if len(taken) == 1 and first.shape[3] >= room:
        part, places = taken[0]
        return part.layers.pop(0)[:, :, :, :room].index_select(
            1, _index(part.rows[np.argsort(places)], first)
        )
    layer = first.new_empty(2, len(lengths), first.shape[2], room, first.shape[4])
    for part, places in taken:
        source = part.layers.pop(0)[:, :, :, :room]
        columns, to = source.shape[3], _index(places, layer)
        moved = source.index_select(1, _index(part.rows, layer))
        layer[:, :, :, :columns].index_copy_(1, to, moved)
        # Not left empty: what a mask hides is still multiplied, and 0 · NaN is NaN.
        layer[:, :, :, columns:].index_fill_(1, to, 0)
    return layer


def _index(rows: Rows, like: Tensor) -> Tensor:
    return torch.from_numpy(rows).to(like.device)


def _slices(lengths: Rows, first: int, last: int, least: float) -> list[Slice]:
    """Split rows while that saves at least so many columns."""
    begins = np.arange(first, last)
    saved = (lengths[first] - lengths[first:last]) * (last - begins)
    best = int(saved.argmax())
    if saved[best] < least:
        return [Slice(first, last)]
    middle = first + best
    return [
        *_slices(lengths, first, middle, least),
        *_slices(lengths, middle, last, least),
    ]
