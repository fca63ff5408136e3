"""The key-value cache of answers that started together (a cohort).

All rows of a cohort have written the same number of tokens, so they differ only by their prompts:
attention over the longest row computes little that is not needed, unlike in a batch of answers of
all ages. A row's tokens are in columns 0 … length − 1, without padding on the left.

Shapes: L layers, N rows, K key-value heads, C columns, D width of a head, G query heads of one
key-value head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class CohortCache:
    """Keys and values of a cohort's rows.

    `keys` and `values` are [L, N, K, C, D]; `lengths` [N] are of the rows' tokens, `longest` is
    their maximum.
    """

    newest: Tensor
    bias: Tensor

    def __init__(
        self, layers: int, lengths_N: Tensor, longest: int, room: int, like: Tensor
    ) -> None:
        """Allocate `room` columns; number format, device, K and D as in `like` [N, K, T, D]."""
        # Zeros, not empty memory: what a mask hides is still multiplied, and 0 · NaN is NaN.
        self.keys = like.new_zeros(layers, len(lengths_N), like.shape[1], room, like.shape[3])
        self.values = torch.zeros_like(self.keys)
        self.lengths, self.longest = lengths_N, longest
        self._update_positions()

    def __len__(self) -> int:
        return len(self.lengths)

    def advance(self) -> None:
        """Extend every row by one column, for the newest token.

        The column is attended to from now on; `attend` writes its keys and values.
        """
        # Doubling keeps the number of copies logarithmic in the length of an answer.
        if self.longest == self.keys.shape[-2]:
            self.keys, self.values = (
                F.pad(cache, (0, 0, 0, self.longest)) for cache in (self.keys, self.values)
            )
            self._update_positions()
        self.newest += 1
        self.bias.view(-1)[self.newest] = 0
        self.lengths = self.lengths + 1
        self.longest += 1

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Store the newest key and value [N, K, D] and attend with the query [N, K·G, D].

        Returns [N, K·G·D].
        """
        keys, values = self.keys[layer], self.values[layer]
        width = keys.shape[-1]
        keys.view(-1, width)[self.newest] = key.reshape(-1, width)
        values.view(-1, width)[self.newest] = value.reshape(-1, width)
        # The query heads of one key-value head stand side by side as if they were tokens: no copy
        # of the cache per head.
        grouped = query.reshape(len(self.bias), -1, width)
        seen_keys, seen_values = (
            cache.flatten(0, 1)[:, : self.longest] for cache in (keys, values)
        )
        scores = torch.baddbmm(
            self.bias[:, None, : self.longest], grouped, seen_keys.transpose(1, 2), alpha=scale
        )
        return torch.bmm(scores.softmax(-1), seen_values).view(len(keys), -1)

    def keep(self, rows: Tensor) -> None:
        self.keys, self.values = self.keys.index_select(1, rows), self.values.index_select(1, rows)
        self.lengths = self.lengths[rows]
        self._update_positions()

    def _update_positions(self) -> None:
        """Recompute `newest` and `bias` from the rows' lengths.

        `newest` [N·K] is the flat position of each row's newest token in a layer's cache viewed as
        [N·K·C, D]. `bias` [N·K, C] is added to the scores: 0 for a row's tokens, −∞ beyond them.
        """
        heads, room = self.keys.shape[2:4]
        columns = torch.arange(room, device=self.keys.device)
        lengths = self.lengths.repeat_interleave(heads)
        self.newest = torch.arange(len(lengths), device=self.keys.device) * room + lengths - 1
        self.bias = self.keys.new_zeros(len(lengths), room).masked_fill_(
            columns >= lengths[:, None], -torch.inf
        )
