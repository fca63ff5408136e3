"""What sampling takes and gives.

A request asks for some answers to one problem; a trajectory is one answer, as the segments it was written in (one, unless several
hands wrote it). Token ids are kept from the sampler to the loss; nothing is ever encoded again from text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Source = Literal["student", "teacher"]


@dataclass(frozen=True)
class Request:
    """Answers wanted to one problem. `problem` is its stable id and `samples` are rollout indices; both name the noise."""

    problem: str
    prompt: tuple[int, ...]
    samples: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive tokens by one author, in nats per token.

    `logprobs` are under the model's own law (temperature 1, nothing cut); `sampled_logprobs` under the law that was drawn from;
    `entropies` are those of the model's own law. All float32, one per id.
    """

    ids: tuple[int, ...]
    logprobs: NDArray[np.float32]
    sampled_logprobs: NDArray[np.float32]
    entropies: NDArray[np.float32]
    source: Source


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One answer. `ids` include the end token unless the answer was cut at the length limit (`truncated`)."""

    problem: str
    sample: int
    prompt: tuple[int, ...]
    segments: tuple[Segment, ...]
    truncated: bool

    @cached_property
    def ids(self) -> tuple[int, ...]:
        return tuple(id for segment in self.segments for id in segment.ids)

    @property
    def length(self) -> int:
        return len(self.ids)

    @cached_property
    def logprobs(self) -> NDArray[np.float32]:
        return np.concatenate([segment.logprobs for segment in self.segments])

    @cached_property
    def sampled_logprobs(self) -> NDArray[np.float32]:
        return np.concatenate([segment.sampled_logprobs for segment in self.segments])

    @cached_property
    def entropies(self) -> NDArray[np.float32]:
        return np.concatenate([segment.entropies for segment in self.segments])
