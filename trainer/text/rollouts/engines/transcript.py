"""What is being written, on the host: one line per slot, one column per token. Shapes: S slots, C columns."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.text.rollouts.choice import Choice
from trainer.text.rollouts.records import Segment, Source

FIRST_COLUMNS = 64


class Transcript:
    """Ids [S, C] and three float32 tracks [3, S, C] (own log-prob, sampled log-prob, entropy); `lengths` [S] of each line."""

    def __init__(self, slots: int) -> None:
        self.lengths = np.zeros(slots, dtype=np.int64)
        self.ids = np.zeros((slots, FIRST_COLUMNS), dtype=np.int64)
        self.tracks = np.zeros((3, slots, FIRST_COLUMNS), dtype=np.float32)

    def append(self, choice: Choice, lines: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Add the chosen token to the lines in use; return all chosen ids [S]."""
        if self.lengths.max() == self.ids.shape[1]:
            self._widen()
        ids = choice.ids.cpu().numpy()
        every = np.arange(len(ids))
        self.ids[every, self.lengths] = ids
        tracks = torch.stack((choice.logprobs, choice.sampled_logprobs, choice.entropies))
        self.tracks[:, every, self.lengths] = tracks.float().cpu().numpy()
        self.lengths += lines
        return ids

    def segment(self, slot: int, source: Source) -> Segment:
        length = self.lengths[slot]
        own, sampled, entropies = self.tracks[:, slot, :length].copy()
        return Segment(tuple(self.ids[slot, :length].tolist()), own, sampled, entropies, source)

    def keep(self, slots: NDArray[np.int64]) -> None:
        self.lengths, self.ids, self.tracks = self.lengths[slots], self.ids[slots], self.tracks[:, slots]

    def _widen(self) -> None:
        self.ids = np.concatenate((self.ids, np.zeros_like(self.ids)), axis=-1)
        self.tracks = np.concatenate((self.tracks, np.zeros_like(self.tracks)), axis=-1)
