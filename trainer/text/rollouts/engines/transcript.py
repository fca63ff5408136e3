"""Tokens and measurements of the answers in progress, in host memory, one line per row.

Shapes: N rows, C columns.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.text.rollouts.engines.token_choice import TokenChoice
from trainer.text.rollouts.records import Segment, Source

# Columns before the arrays grow for the first time; they double then.
FIRST_COLUMNS = 64


class Transcript:
    """Ids [N, C], float32 tracks [3, N, C] and line lengths [N].

    The tracks are the model's log-prob, the sampling log-prob and the entropy.
    """

    def __init__(self) -> None:
        self.lengths: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.ids: NDArray[np.int64] = np.zeros((0, FIRST_COLUMNS), dtype=np.int64)
        self.tracks: NDArray[np.float32] = np.zeros((3, 0, FIRST_COLUMNS), dtype=np.float32)

    def extend(self, lines: int) -> None:
        self.lengths, self.ids, self.tracks = (
            np.concatenate(
                (
                    array,
                    np.zeros(
                        (*array.shape[:axis], lines, *array.shape[axis + 1 :]), dtype=array.dtype
                    ),
                ),
                axis,
            )
            for array, axis in ((self.lengths, 0), (self.ids, 0), (self.tracks, 1))
        )

    def append(self, choice: TokenChoice, lines: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Append the chosen token to the given lines; return all chosen ids [N]."""
        if self.lengths.max() == self.ids.shape[1]:
            self.ids = np.concatenate((self.ids, np.zeros_like(self.ids)), axis=-1)
            self.tracks = np.concatenate((self.tracks, np.zeros_like(self.tracks)), axis=-1)
        ids = choice.ids.cpu().numpy()
        tracks = (
            # One transfer for all three: on a GPU each one waits for the device.
            torch.stack((choice.logprobs, choice.sampled_logprobs, choice.entropies))
            .float()
            .cpu()
            .numpy()
        )
        rows = np.flatnonzero(lines)
        self.ids[rows, self.lengths[rows]] = ids[rows]
        self.tracks[:, rows, self.lengths[rows]] = tracks[:, rows]
        self.lengths[rows] += 1
        return ids

    def segment(self, line: int, source: Source, version: int = 0, first: int = 0) -> Segment:
        """The tokens of a line from the one at `first` on."""
        last = self.lengths[line]
        # A copy: a view would keep the tracks of the whole batch in memory with each answer.
        logprobs, sampled_logprobs, entropies = self.tracks[:, line, first:last].copy()
        return Segment(
            tuple(self.ids[line, first:last].tolist()),
            logprobs,
            sampled_logprobs,
            entropies,
            source,
            version,
        )

    def keep(self, lines: NDArray[np.int64]) -> None:
        self.lengths, self.ids, self.tracks = (
            self.lengths[lines],
            self.ids[lines],
            self.tracks[:, lines],
        )
