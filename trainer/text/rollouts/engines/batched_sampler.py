"""The batched sampler: many answers side by side on the trainer's own device.

Each prompt is read once and its cache is copied to all its answers. Finished rows are removed from
the batch, and waiting prompts start as a new cohort, longest prompts first, so that neighbours have
similar lengths.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.spec.sampling import Sampling
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.engines.decoder import Decoder
from trainer.text.rollouts.engines.key_value_cache import CohortCache
from trainer.text.rollouts.engines.noise import Noise, rollout_keys, uniforms
from trainer.text.rollouts.engines.token_choice import choose
from trainer.text.rollouts.engines.transcript import Transcript
from trainer.text.rollouts.records import SampleRequest, Source, Trajectory

# Finished rows leave when they are this share of the batch: leaving copies the cache, staying
# computes in vain.
REMOVAL_SHARE = 0.125
# Waiting prompts start when this share of the rows is free: every cohort costs some calls per layer
# and step.
START_SHARE = 0.375


@torch.inference_mode()
def write(
    language_model: LanguageModel,
    requests: Sequence[SampleRequest],
    sampling: Sampling,
    noise: Noise,
    rows: int,
    source: Source,
) -> Iterator[Trajectory]:
    """Yield answers as they finish; at most `rows` are in progress together."""
    # A request joins a cohort whole, so one for more answers than there are rows is split.
    fitting = [
        replace(request, samples=request.samples[start : start + rows])
        for request in requests
        for start in range(0, len(request.samples), rows)
    ]
    waiting = deque(sorted(fitting, key=lambda request: -len(request.prompt)))
    batch = SamplingBatch(language_model, sampling, noise)
    while waiting or len(batch):
        free = rows - len(batch)
        if free >= START_SHARE * rows:
            starting = []
            while waiting and len(waiting[0].samples) <= free:
                free -= len(waiting[0].samples)
                starting.append(waiting.popleft())
            if starting:
                batch.start(starting)
        for row in batch.advance():
            yield batch.trajectory(row, source)
        batch.remove_finished()


class SamplingBatch:
    """Answers in progress.

    The arrays are indexed by row, cohort after cohort; `active` rows are not finished.
    """

    def __init__(self, language_model: LanguageModel, sampling: Sampling, noise: Noise) -> None:
        self.sampling, self.noise = sampling, noise
        self.eos_ids, self.device = language_model.eos_ids, language_model.device
        # A table, because comparing with each end token takes a call per token and step.
        self.is_end: NDArray[np.bool_] = np.isin(
            np.arange(language_model.vocabulary), language_model.eos_ids
        )
        # Made for each call: its copies of small weights do not follow the training.
        self.decoder = Decoder(language_model)
        self.cohorts: list[CohortCache] = []
        self.logits = torch.zeros(
            0, language_model.vocabulary, dtype=language_model.dtype, device=self.device
        )
        self.owners: list[tuple[SampleRequest, int]] = []
        self.active: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self.keys: NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)
        self.transcript = Transcript()

    def __len__(self) -> int:
        return len(self.owners)

    def start(self, requests: Sequence[SampleRequest]) -> None:
        """Begin the answers of `requests` as a new cohort."""
        answers = [(request, sample) for request in requests for sample in request.samples]
        prompt_of_row = np.repeat(
            np.arange(len(requests)), [len(request.samples) for request in requests]
        )
        lengths = np.array([len(request.prompt) for request in requests])
        padded = np.zeros((len(requests), lengths.max()), dtype=np.int64)
        for line, request in zip(padded, requests, strict=True):
            line[: len(request.prompt)] = request.prompt
        cohort, logits = self.decoder.start(
            self._tensor(padded), self._tensor(lengths), self._tensor(prompt_of_row)
        )
        self.cohorts.append(cohort)
        self.logits = torch.cat((self.logits, logits))
        self.owners += answers
        self.active = np.concatenate((self.active, np.ones(len(answers), dtype=np.bool_)))
        # A key names the answer, not its row: the rest of the batch cannot change what is sampled.
        keys = rollout_keys(self.noise, ((request.problem, sample) for request, sample in answers))
        self.keys = np.concatenate((self.keys, keys))
        self.transcript.extend(len(answers))

    def advance(self) -> list[int]:
        """Sample one token in every row; return the rows whose answers it finishes."""
        numbers = uniforms(self.keys, self.transcript.lengths + self.noise.offset)
        choice = choose(self.logits, self._tensor(numbers), self.sampling)
        ids = self.transcript.append(choice, self.active)
        finished = self.active & (
            self.is_end[ids] | (self.transcript.lengths == self.sampling.max_new_tokens)
        )
        self.active = self.active & ~finished
        # A forward pass after the end of all answers would predict tokens that nobody reads.
        if self.active.any():
            self.logits = self.decoder.step(choice.ids, self.cohorts)
        return [int(row) for row in np.flatnonzero(finished)]

    def trajectory(self, row: int, source: Source) -> Trajectory:
        request, sample = self.owners[row]
        segment = self.transcript.segment(row, source)
        return Trajectory(
            request.problem,
            sample,
            request.prompt,
            (segment,),
            truncated=segment.ids[-1] not in self.eos_ids,
        )

    def remove_finished(self) -> None:
        """Remove finished rows once there are enough of them."""
        active_rows = np.flatnonzero(self.active)
        if len(self) - len(active_rows) < REMOVAL_SHARE * len(self):
            return
        first = 0
        for cohort in self.cohorts:
            remaining = np.flatnonzero(self.active[first : first + len(cohort)])
            first += len(cohort)
            if len(remaining) < len(cohort):
                cohort.keep(self._tensor(remaining))
        self.cohorts = [cohort for cohort in self.cohorts if len(cohort)]
        self.logits = self.logits[self._tensor(active_rows)]
        self.owners = [self.owners[row] for row in active_rows.tolist()]
        self.keys, self.active = self.keys[active_rows], self.active[active_rows]
        self.transcript.keep(active_rows)

    def _tensor(self, values: NDArray[np.int64] | NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values).to(self.device)
