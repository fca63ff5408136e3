"""A stream over what writes whole answers only.

It has none of the abilities: nothing is known of an answer before it stops. A prefix is read as the
end of the prompt, and answers that may have equally many further tokens are written in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NoReturn

from trainer.spec.sampling import Sampling
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.protocols import Engine
from trainer.text.rollouts.records import Progress, SampleRequest, Trajectory
from trainer.text.rollouts.streaming import (
    Measures,
    StepEvents,
    Stream,
    StreamingEngine,
    UnableEngine,
)

# Writes requests without prefix, allowance and forced token, in their order.
WriteWhole = Callable[
    [Sequence[SampleRequest], Sampling, Noise, Progress | None], Sequence[Trajectory]
]


@dataclass
class WholeAnswerStream:
    """The stream of a sampler; `who` names it in refusals."""

    write: WriteWhole
    sampling: Sampling
    noise: Noise
    who: str
    _waiting: list[tuple[list[int], SampleRequest]] = field(default_factory=list)
    _handles: int = 0

    def submit(self, requests: Sequence[SampleRequest]) -> list[int]:
        first = self._handles
        for request in requests:
            if request.forced is not None:
                self._refuse("force a token")
            handles = list(range(self._handles, self._handles + len(request.samples)))
            self._waiting.append((handles, request))
            self._handles += len(handles)
        return list(range(first, self._handles))

    def finish(self, progress: Progress | None = None) -> dict[int, Trajectory]:
        # Answers with equal limits and prefixes of one length are written in one call.
        calls: dict[tuple[int, int], list[tuple[list[int], SampleRequest]]] = {}
        for handles, request in self._waiting:
            key = request.written, request.allowed(self.sampling.max_new_tokens)
            calls.setdefault(key, []).append((handles, request))
        self._waiting = []
        ended: dict[int, Trajectory] = {}
        for (written, allowance), submitted in calls.items():
            ended |= self._written(submitted, written, allowance, progress)
        return dict(sorted(ended.items()))

    def step(self, tokens: int = 1) -> StepEvents:
        self._refuse("report tokens while it writes")

    def abort(self, handles: Sequence[int]) -> dict[int, Trajectory]:
        self._refuse("pause an answer that it is writing")

    def fork(
        self, handle: int, tokens: int, samples: Sequence[int], forced: Sequence[int] = ()
    ) -> list[int]:
        self._refuse("branch an answer that it is writing")

    def close(self) -> None:
        self._waiting = []

    def _written(
        self,
        submitted: Sequence[tuple[list[int], SampleRequest]],
        written: int,
        allowance: int,
        progress: Progress | None,
    ) -> dict[int, Trajectory]:
        if not allowance:
            return {
                handle: request.answered(sample, (), True)
                for handles, request in submitted
                for handle, sample in zip(handles, request.samples, strict=True)
            }
        plain = [
            SampleRequest(request.problem, request.context, request.samples)
            for _, request in submitted
        ]
        law = self.sampling.model_copy(update={"max_new_tokens": allowance})
        noise = replace(self.noise, offset=self.noise.offset + written)
        answers = iter(self.write(plain, law, noise, progress))
        return {
            handle: request.answered(answer.sample, answer.segments, answer.truncated)
            for handles, request in submitted
            for handle, answer in zip(handles, islice(answers, len(handles)), strict=True)
        }

    def _refuse(self, what: str) -> NoReturn:
        raise UnableEngine(f"{self.who} writes whole answers and cannot {what}.")


def open_stream(
    engine: Engine, sampling: Sampling, noise: Noise, measures: Measures | None = None
) -> Stream:
    """A stream of any engine's answers. Raises UnableEngine for a measure that it does not have."""
    if isinstance(engine, StreamingEngine):
        return engine.stream(sampling, noise, measures)
    who = type(engine).__name__
    if measures and measures != Measures():
        raise UnableEngine(f"{who} reports neither entropies nor likely tokens while it writes.")
    return WholeAnswerStream(engine.write, sampling, noise, who)
