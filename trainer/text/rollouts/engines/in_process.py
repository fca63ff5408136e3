"""The batched sampler: many answers side by side on the trainer's own device.

Each prompt is read once and its cache is copied to all its answers; a finished answer leaves and its slot goes to the next prompt,
longest prompts first, so that neighbours have similar lengths. When no prompt waits, the batch shrinks with what it still writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.spec.sampling import Sampling
from trainer.text.models import LanguageModel
from trainer.text.rollouts.choice import choose
from trainer.text.rollouts.engines.decoder import Decoder
from trainer.text.rollouts.engines.transcript import Transcript
from trainer.text.rollouts.noise import Noise, rollout_keys, uniforms
from trainer.text.rollouts.records import Request, Source, Trajectory

# One in so many slots may stand idle before they are refilled or dropped: each of the two costs about as much as a step.
IDLE_SHARE = 8
FIRST_COLUMNS = 32


@torch.no_grad()
def write(
    language_model: LanguageModel, requests: Sequence[Request], sampling: Sampling, noise: Noise, slots: int, source: Source
) -> Iterator[Trajectory]:
    """Answers in the order in which they are finished. `slots` bounds how many are in progress together."""
    waiting = deque(sorted(_parts(requests, slots), key=lambda part: -len(part.prompt)))
    if not waiting:
        return
    slots = min(slots, sum(len(part.samples) for part in waiting))
    batch = Batch(language_model, sampling, noise, slots, len(waiting[0].prompt))
    while waiting or batch.occupied.any():
        idle = int((~batch.occupied).sum())
        if idle * IDLE_SHARE >= len(batch.occupied):
            started = _that_fit(waiting, idle)
            if started:
                batch.start(started)
            elif not waiting:
                batch.shrink()
        for slot in batch.advance():
            yield batch.finish(slot, source)


def _parts(requests: Sequence[Request], slots: int) -> Iterator[Request]:
    """A request for more answers than there are slots is served in parts."""
    for request in requests:
        for start in range(0, len(request.samples), slots):
            yield Request(request.problem, request.prompt, request.samples[start : start + slots])


def _that_fit(waiting: deque[Request], idle: int) -> list[Request]:
    """Take requests from the queue while all of their answers find a slot."""
    taken: list[Request] = []
    while waiting and len(waiting[0].samples) <= idle:
        idle -= len(waiting[0].samples)
        taken.append(waiting.popleft())
    return taken


class Batch:
    """Answers in progress; slot numbers index all arrays and the decoder's cache alike."""

    def __init__(self, language_model: LanguageModel, sampling: Sampling, noise: Noise, slots: int, longest_prompt: int) -> None:
        self.sampling, self.noise = sampling, noise
        self.ends = np.array(language_model.ends)
        self.device = language_model.device
        self.decoder = Decoder(language_model, slots, longest_prompt + min(sampling.max_new_tokens, FIRST_COLUMNS))
        self.logits = torch.zeros(slots, language_model.vocabulary, dtype=language_model.dtype, device=self.device)
        self.occupied: NDArray[np.bool_] = np.zeros(slots, dtype=np.bool_)
        self.owners: list[tuple[Request, int] | None] = [None] * slots
        self.keys = np.zeros(slots, dtype=np.uint64)
        self.prompt_lengths = np.zeros(slots, dtype=np.int64)
        self.written = Transcript(slots)

    def start(self, requests: Sequence[Request]) -> None:
        """Give idle slots to the answers of `requests`, which must fit."""
        owner = np.repeat(np.arange(len(requests)), [len(request.samples) for request in requests])
        answers = [(request, sample) for request in requests for sample in request.samples]
        slots = np.flatnonzero(~self.occupied)[: len(answers)]
        lengths = np.array([len(request.prompt) for request in requests])
        padded = np.zeros((len(requests), lengths.max()), dtype=np.int64)
        for line, request in zip(padded, requests, strict=True):
            line[: len(request.prompt)] = request.prompt
        where = self._tensor(slots)
        self.logits[where] = self.decoder.start(self._tensor(padded), self._tensor(lengths), where, self._tensor(owner))
        for slot, answer in zip(slots.tolist(), answers, strict=True):
            self.owners[slot] = answer
        self.keys[slots] = rollout_keys(self.noise, ((request.problem, sample) for request, sample in answers))
        self.prompt_lengths[slots] = lengths[owner]
        self.occupied[slots] = True

    def advance(self) -> list[int]:
        """Write one token in every slot; return the slots whose answers are finished. An idle slot writes over its own start."""
        numbers = uniforms(self.keys, self.written.lengths)
        choice = choose(self.logits, self._tensor(numbers), self.sampling)
        ids = self.written.append(choice, self.occupied)
        ended = np.isin(ids, self.ends) | (self.written.lengths == self.sampling.max_new_tokens)
        going = self.occupied & ~ended
        if going.any():
            lengths = np.where(going, self.prompt_lengths + self.written.lengths - 1, 0)
            self.logits = self.decoder.step(choice.ids, self._tensor(lengths), int(lengths.max()) + 1)
        return [int(slot) for slot in np.flatnonzero(self.occupied & ended)]

    def finish(self, slot: int, source: Source) -> Trajectory:
        """Take the finished answer out of its slot."""
        owner = self.owners[slot]
        assert owner is not None
        segment = self.written.segment(slot, source)
        self.occupied[slot], self.owners[slot], self.written.lengths[slot] = False, None, 0
        request, sample = owner
        return Trajectory(request.problem, sample, request.prompt, (segment,), truncated=segment.ids[-1] not in self.ends)

    def shrink(self) -> None:
        """Drop the idle slots."""
        kept = np.flatnonzero(self.occupied)
        where = self._tensor(kept)
        self.decoder.keep(where)
        self.logits = self.logits[where]
        self.owners = [self.owners[slot] for slot in kept.tolist()]
        self.keys, self.prompt_lengths, self.occupied = self.keys[kept], self.prompt_lengths[kept], self.occupied[kept]
        self.written.keep(kept)

    def _tensor(self, values: NDArray[np.int64] | NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values).to(self.device)
