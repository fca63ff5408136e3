"""Streams of answers: what an engine can do while it writes them.

An engine that streams opens a `Stream` for one law of sampling and one stream of noise. Requests
may be submitted at any time; every answer has a *handle*, counted from 0 in the order of
submission. `step` writes a few tokens of every answer in progress and returns them as columns;
between two steps answers can be paused (`abort`), branched (`fork`) and added. `finish` writes all
that is submitted to its end without reporting tokens, which costs nothing per token. `write` does
all at once.

What an engine can do is in its `abilities`. One that lacks an ability refuses the call with
`UnableEngine`; it never imitates the ability by something else.

Position t of an answer uses number t of its own noise, counted from the answer's first token, its
prefix included. So an answer that is paused and resumed with the same weights and noise is the
uninterrupted one.

Shapes: E events (one token of one answer each), K most likely tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trainer.engine.outcome import RunRefused
from trainer.spec.controllers.controller import Ability
from trainer.spec.sampling import Sampling
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.records import Progress, SampleRequest, Trajectory


class UnableEngine(RunRefused):
    """An engine lacks an ability that was asked for; the message is a sentence for people."""


@dataclass(frozen=True)
class Measures:
    """What is reported of each token beside its id and log-prob; the default costs nothing.

    `top`: how many of the most likely tokens, with their log-probs.
    """

    entropy: bool = False
    top: int = 0


@dataclass(frozen=True, eq=False)
class StepEvents:
    """Tokens that were written since the last call, ordered by token step and then by handle.

    Columns: `handles`, `ids` and `positions` (in the answer, its prefix included) int64 [E];
    `logprobs` and `entropies` float32 [E] in nats, of the model's own distribution; `top_ids` int64
    and `top_logprobs` float32 [E, K], most likely first. What was not asked for is None. A forced
    token is an event like any other.

    `ended` are the answers that are finished or have used their allowance, by handle; their last
    tokens are among the columns of this call or an earlier one.
    """

    handles: NDArray[np.int64]
    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    logprobs: NDArray[np.float32]
    entropies: NDArray[np.float32] | None
    top_ids: NDArray[np.int64] | None
    top_logprobs: NDArray[np.float32] | None
    ended: dict[int, Trajectory]

    @property
    def top_masses(self) -> NDArray[np.float32] | None:
        """Probability of the K most likely tokens together, float32 [E]."""
        return None if self.top_logprobs is None else np.exp(self.top_logprobs).sum(-1)


class Stream(Protocol):
    """Answers in progress under one law of sampling."""

    def submit(self, requests: Sequence[SampleRequest]) -> list[int]:
        """Return one handle per answer, in the order of `requests` and then of their samples.

        An answer with a prefix continues its ids with what `allowance` and the length limit leave,
        and keeps its segments; one that may have no further token ends at once, as it is.
        """

    def step(self, tokens: int = 1) -> StepEvents:
        """Write up to `tokens` further tokens of every answer in progress.

        Every process that shares the sampling takes as many steps and returns the same events.
        Without answers in progress or waiting there are no events. Needs the ability `step`.
        """

    def finish(self, progress: Progress | None = None) -> dict[int, Trajectory]:
        """Write everything that is submitted to its end; return what ended since the last call."""

    def abort(self, handles: Sequence[int]) -> dict[int, Trajectory]:
        """Pause answers; return each as far as it is written (perhaps without any new token).

        Its handle is used up; submit it as the `prefix` of a request to resume it. Needs the
        ability `abort`. Raises KeyError for a handle whose answer has ended.
        """

    def fork(
        self, handle: int, tokens: int, samples: Sequence[int], forced: Sequence[int] = ()
    ) -> list[int]:
        """Branch off one answer for each of `samples`; return their handles.

        They share the first `tokens` tokens (at least 1) of an answer in progress, and its cache
        where they lie in it. With `forced`, one id for each sample, that is their next token;
        otherwise each samples it by its own noise. The answer itself is unchanged. Needs the
        ability `fork`, and `forced` for given ids.
        """

    def close(self) -> None:
        """Give up what is in progress."""


@runtime_checkable
class StreamingEngine(Protocol):
    """An engine that can be watched and steered while it writes."""

    @property
    def abilities(self) -> frozenset[Ability]: ...

    def stream(self, sampling: Sampling, noise: Noise, measures: Measures | None = None) -> Stream:
        """Open a stream that samples with the weights of the last `update`.

        Raises UnableEngine for a measure that the engine does not have.
        """

    def score(
        self, texts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
    ) -> list[NDArray[np.float32]]:
        """Log-probs [T] of the ids of each (prompt, ids), under the model's own distribution."""


def require(engine: object, abilities: frozenset[Ability], who: str) -> None:
    """Raise UnableEngine if an engine lacks abilities that `who` needs."""
    has = engine.abilities if isinstance(engine, StreamingEngine) else frozenset()
    if missing := sorted(abilities - has):
        raise UnableEngine(
            f"{who} needs a sampler that can do: {', '.join(missing)}. That of this run cannot.",
            "Choose another controller, sampler or network.",
        )


def write(
    engine: StreamingEngine,
    requests: Sequence[SampleRequest],
    sampling: Sampling,
    noise: Noise,
    progress: Progress | None = None,
) -> list[Trajectory]:
    """Return the requested answers, in the order of `requests` and then of their samples."""
    with closing(engine.stream(sampling, noise)) as stream:
        handles = stream.submit(requests)
        ended = stream.finish(progress)
        return [ended[handle] for handle in handles]
