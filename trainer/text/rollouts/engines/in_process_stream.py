"""A stream of answers from the trainer's own network, shared by the processes of a run.

Every rank submits, pauses and branches the same answers, but writes only its own. `step` takes
equally many token steps on every rank and gathers their events, so that the ranks' controllers see
the same columns and decide alike; `finish` gathers once, when each rank has written all of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.engine.distributed.world import World
from trainer.text.rollouts.engines.batched_sampler import Columns, SamplingBatch, Waiting
from trainer.text.rollouts.records import Progress, SampleRequest, Trajectory
from trainer.text.rollouts.streaming import Measures, StepEvents


@dataclass
class InProcessStream:
    """See `Stream`; the rank of each handle is in `_owners`."""

    batch: SamplingBatch
    measures: Measures
    world: World
    _owners: list[int] = field(default_factory=list)
    _open: set[int] = field(default_factory=set)
    # Of this rank, not reported yet.
    _ended: dict[int, Trajectory] = field(default_factory=dict)
    _own: int = 0
    _done: int = 0

    def submit(self, requests: Sequence[SampleRequest]) -> list[int]:
        first = len(self._owners)
        for index, request in enumerate(requests):
            # Whole requests are divided, not answers: a prompt is read once for all of its answers.
            self._add(request, request.samples, index % self.world.size)
        return list(range(first, len(self._owners)))

    def step(self, tokens: int = 1) -> StepEvents:
        written: list[Columns] = []
        steps: list[int] = []
        for step in range(tokens):
            ended, columns = self.batch.advance(report=True)
            self._end(ended)
            if columns is not None:
                written.append(columns)
                steps += [step] * len(columns.ids)
        ended_of_all = self._take_ended()
        parts = [
            (np.array(steps, np.int64), columns)
            for steps, columns in self.world.concatenate([(steps, _joined(written))])
            if columns is not None
        ]
        return self._events(parts, ended_of_all)

    def finish(self, progress: Progress | None = None) -> dict[int, Trajectory]:
        while not self.batch.is_done:
            ended, _ = self.batch.advance()
            for answer in ended:
                self._end([answer])
                if progress:
                    progress(self._done, self._own)
        return self._take_ended()

    def abort(self, handles: Sequence[int]) -> dict[int, Trajectory]:
        self._require_open(handles)
        own = [handle for handle in handles if self._owners[handle] == self.world.rank]
        paused = dict(self.world.concatenate(list(self.batch.pause(own).items())))
        self._open -= set(handles)
        return {handle: paused[handle] for handle in handles}

    def fork(
        self, handle: int, tokens: int, samples: Sequence[int], forced: Sequence[int] = ()
    ) -> list[int]:
        self._require_open([handle])
        owner = self._owners[handle]
        handles = list(range(len(self._owners), len(self._owners) + len(samples)))
        self._owners += [owner] * len(samples)
        self._open |= set(handles)
        if owner == self.world.rank:
            self._own += len(samples)
            branches = zip(handles, samples, forced or [-1] * len(samples), strict=True)
            self.batch.fork(handle, tokens, list(branches))
        return handles

    def close(self) -> None:
        self.batch.pause(self._open)

    def _add(self, request: SampleRequest, samples: Sequence[int], owner: int) -> None:
        handles = range(len(self._owners), len(self._owners) + len(samples))
        self._owners += [owner] * len(samples)
        self._open |= set(handles)
        if owner != self.world.rank:
            return
        self._own += len(samples)
        if request.allowed(self.batch.sampling.max_new_tokens):
            self.batch.add(
                [
                    Waiting(handle, request, sample)
                    for handle, sample in zip(handles, samples, strict=True)
                ]
            )
        else:
            self._end(
                [
                    (handle, request.answered(sample, (), True))
                    for handle, sample in zip(handles, samples, strict=True)
                ]
            )

    def _end(self, ended: Sequence[tuple[int, Trajectory]]) -> None:
        self._ended |= dict(ended)
        self._done += len(ended)

    def _take_ended(self) -> dict[int, Trajectory]:
        """What has ended on any rank since the last call, by handle."""
        ended = dict(sorted(self.world.concatenate(list(self._ended.items()))))
        self._ended = {}
        self._open -= set(ended)
        return ended

    def _require_open(self, handles: Sequence[int]) -> None:
        for handle in handles:
            if handle not in self._open:
                raise KeyError(handle)

    def _events(
        self, parts: Sequence[tuple[NDArray[np.int64], Columns]], ended: dict[int, Trajectory]
    ) -> StepEvents:
        """The columns of all ranks in the order of steps and handles."""
        columns = _joined([columns for _, columns in parts])
        if columns is None:
            columns = _NOTHING
            order = np.zeros(0, np.int64)
        else:
            steps = np.concatenate([steps for steps, _ in parts])
            order = np.lexsort((columns.handles, steps))
        return StepEvents(
            columns.handles[order],
            columns.ids[order],
            columns.positions[order],
            columns.logprobs[order],
            columns.entropies[order] if self.measures.entropy else None,
            None if columns.top_ids is None else columns.top_ids[order],
            None if columns.top_logprobs is None else columns.top_logprobs[order],
            ended,
        )


_NO_IDS, _NO_NUMBERS = np.zeros(0, np.int64), np.zeros(0, np.float32)
_NOTHING = Columns(_NO_IDS, _NO_IDS, _NO_IDS, _NO_NUMBERS, _NO_NUMBERS, None, None)


def _joined(parts: Sequence[Columns]) -> Columns | None:
    if not parts:
        return None

    def join(name: str) -> Any:
        columns = [getattr(part, name) for part in parts]
        return None if columns[0] is None else np.concatenate(columns)

    return Columns(*(join(name) for name in Columns.__dataclass_fields__))
