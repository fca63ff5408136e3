"""The batched sampler: many answers side by side on the trainer's own device.

Each prompt is read once and its cache is copied to all its answers. Finished rows are removed from
the batch, and waiting answers take their place, longest prompts first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.spec.sampling import Sampling
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.engines.decoder import Decoder
from trainer.text.rollouts.engines.noise import Noise, rollout_keys, uniforms
from trainer.text.rollouts.engines.row_cache import Part, RowCache, joined
from trainer.text.rollouts.engines.token_choice import TokenChoice, choose
from trainer.text.rollouts.engines.transcript import Transcript
from trainer.text.rollouts.records import SampleRequest, Source, Trajectory

# Finished rows leave when they are this share of the batch: leaving copies the cache, staying
# computes in vain.
REMOVAL_SHARE = 0.125
# Waiting answers start when this share of the rows is free: starting copies the cache too, and
# reads few prompts together.
START_SHARE = 0.25

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Waiting:
    """One answer that has no row yet."""

    handle: int
    request: SampleRequest
    sample: int


@dataclass(frozen=True)
class Columns:
    """What one step wrote: a token of each row [N]; the last two [N, K] or None."""

    handles: Integers
    ids: Integers
    positions: Integers
    logprobs: NDArray[np.float32]
    entropies: NDArray[np.float32]
    top_ids: Integers | None
    top_logprobs: NDArray[np.float32] | None


class SamplingBatch:
    """Answers in progress in at most `rows` rows, and those that wait for one.

    The arrays are indexed by row, in the order of the cache; `active` rows are not finished.
    `noise_offsets` are added to the number of tokens written to select a row's noise, `limits`
    bound that number, and `forced` is a row's next id or −1.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        sampling: Sampling,
        noise: Noise,
        rows: int,
        source: Source = "student",
        version: int = 0,
        top: int = 0,
    ) -> None:
        self.sampling, self.noise, self.rows = sampling, noise, rows
        self.source, self.version, self.top = source, version, top
        self.eos_ids, self.device = language_model.eos_ids, language_model.device
        # A table, because comparing with each end token takes a call per token and step.
        self.is_end: NDArray[np.bool_] = np.isin(
            np.arange(language_model.vocabulary), language_model.eos_ids
        )
        # Made for each batch: its copies of small weights do not follow the training.
        self.decoder = Decoder(language_model)
        self.waiting: list[list[Waiting]] = []
        self.cache: RowCache | None = None
        self.logits = torch.zeros(
            0, language_model.vocabulary, dtype=language_model.dtype, device=self.device
        )
        self.answers: list[Waiting] = []
        self.active: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self.keys: NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)
        self.handles, self.noise_offsets, self.limits, self.forced = np.zeros((4, 0), np.int64)
        self.transcript = Transcript()

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def is_done(self) -> bool:
        return not self.waiting and not self.active.any()

    def add(self, answers: Sequence[Waiting]) -> None:
        """Let answers wait; neighbours with one request start together, so that it is read once."""
        groups: list[list[Waiting]] = []
        for answer in answers:
            together = groups and groups[-1][0].request is answer.request
            if together and len(groups[-1]) < self.rows:
                groups[-1].append(answer)
            else:
                groups.append([answer])
        self.waiting += groups
        self.waiting.sort(key=lambda group: -len(group[0].request.context))

    @torch.inference_mode()
    def advance(self, report: bool = False) -> tuple[list[tuple[int, Trajectory]], Columns | None]:
        """Start waiting answers, then write one token of every answer in progress.

        Returns the answers that this ends, by handle, and, to `report`, the tokens.
        """
        self._refill()
        if not self.active.any():
            return [], None
        choice = self._choice()
        ids = self.transcript.append(choice, self.active)
        columns = self._columns(choice, ids) if report else None
        finished = self.active & (self.is_end[ids] | (self.transcript.lengths == self.limits))
        ended = [
            (int(self.handles[row]), self._trajectory(int(row))) for row in np.flatnonzero(finished)
        ]
        self.active = self.active & ~finished
        # A forward pass after the end of all answers would predict tokens that nobody reads.
        if self.active.any():
            assert self.cache is not None
            self.logits = self.decoder.step(choice.ids, self.cache)
        self._remove_finished()
        return ended, columns

    def pause(self, handles: Iterable[int]) -> dict[int, Trajectory]:
        """Take answers out, in progress or waiting; return them as far as they are written."""
        leaving = set(handles)
        paused = {
            answer.handle: answer.request.answered(answer.sample, (), True)
            for group in self.waiting
            for answer in group
            if answer.handle in leaving
        }
        self.waiting = [
            kept
            for group in self.waiting
            if (kept := [answer for answer in group if answer.handle not in leaving])
        ]
        rows = np.flatnonzero(self.active & np.isin(self.handles, list(leaving)))
        paused |= {int(self.handles[row]): self._trajectory(int(row)) for row in rows}
        self.active[rows] = False
        return paused

    @torch.inference_mode()
    def fork(self, handle: int, tokens: int, branches: Sequence[tuple[int, int, int]]) -> None:
        """Branch off an answer in progress: (handle, sample, forced id or −1) of each branch."""
        row = self._row(handle)
        parent = self._trajectory(row)
        request = replace(self.answers[row].request, prefix=parent.first(tokens))
        answers = [
            Waiting(handle, replace(request, forced=None if forced < 0 else forced), sample)
            for handle, sample, forced in branches
        ]
        # Without free rows the branches wait for some, and the prefix is read again.
        if int(self.active.sum()) + len(answers) > self.rows:
            self.add(answers)
            return
        assert self.cache is not None
        context = len(request.context)
        part = Part(
            [layer[:, row : row + 1, :, :context].clone() for layer in self.cache.layers],
            np.array([context - 1]),
            np.zeros(len(answers), np.int64),
        )
        cache, _ = joined([part])
        ids = torch.full((len(answers),), request.context[-1], device=self.device)
        # The logits after the last shared token are not kept, so it is computed again.
        logits = self.decoder.step(ids, cache)
        self._start(answers, Part(cache.layers, cache.lengths, np.arange(len(answers))), logits)

    def _refill(self) -> None:
        """Start waiting answers once enough rows are free."""
        free = self.rows - int(self.active.sum())
        if not self._starts(free):
            return
        starting: list[list[Waiting]] = []
        while self.waiting and len(self.waiting[0]) <= free:
            free -= len(self.waiting[0])
            starting.append(self.waiting.pop(0))
        self._read(starting)

    def _starts(self, free: int) -> bool:
        """Whether answers would start in so many free rows."""
        return (
            bool(self.waiting) and free >= START_SHARE * self.rows and len(self.waiting[0]) <= free
        )

    def _read(self, groups: Sequence[Sequence[Waiting]]) -> None:
        """Read each context once and start its answers."""
        index_by_context: dict[tuple[int, ...], int] = {}
        contexts = [group[0].request.context for group in groups]
        for context in contexts:
            index_by_context.setdefault(context, len(index_by_context))
        lengths = np.array([len(context) for context in index_by_context])
        padded = np.zeros((len(lengths), lengths.max()), dtype=np.int64)
        for line, context in zip(padded, index_by_context, strict=True):
            line[: len(context)] = context
        layers, logits = self.decoder.start(self._tensor(padded), self._tensor(lengths))
        sizes = [len(group) for group in groups]
        rows = np.repeat([index_by_context[context] for context in contexts], sizes)
        answers = [answer for group in groups for answer in group]
        self._start(answers, Part(layers, lengths, rows), logits[self._tensor(rows)])

    def _start(self, answers: Sequence[Waiting], part: Part, logits: Tensor) -> None:
        """Give rows to answers whose context is read; finished rows leave."""
        active_rows = np.flatnonzero(self.active)
        self._keep(active_rows)
        parts = [part]
        if self.cache is not None and len(active_rows):
            parts.insert(0, Part(self.cache.layers, self.cache.lengths, active_rows))
        self.cache, order = joined(parts)
        requests = [answer.request for answer in answers]
        # A key names the answer, not its row: the rest of the batch cannot change what is sampled.
        keys = rollout_keys(self.noise, ((a.request.problem, a.sample) for a in answers))
        written = np.array([request.written for request in requests], np.int64)
        limits = [request.allowed(self.sampling.max_new_tokens) for request in requests]
        forced = [-1 if request.forced is None else request.forced for request in requests]
        together = [*self.answers, *answers]
        self.answers = [together[row] for row in order.tolist()]
        self.logits = torch.cat((self.logits, logits))[self._tensor(order)]
        self.active = np.ones(len(order), dtype=np.bool_)
        self.keys = np.concatenate((self.keys, keys))[order]
        self.handles = np.concatenate((self.handles, [a.handle for a in answers]))[order]
        self.noise_offsets = np.concatenate((self.noise_offsets, written + self.noise.offset))[
            order
        ]
        self.limits = np.concatenate((self.limits, limits))[order]
        self.forced = np.concatenate((self.forced, forced))[order]
        self.transcript.extend(len(answers))
        self.transcript.keep(order)

    def _choice(self) -> TokenChoice:
        numbers = uniforms(self.keys, self.transcript.lengths + self.noise_offsets)
        forced = None
        if (self.forced >= 0).any():
            forced = self._tensor(np.where(self.transcript.lengths == 0, self.forced, -1))
        return choose(self.logits, self._tensor(numbers), self.sampling, forced, self.top)

    def _columns(self, choice: TokenChoice, ids: Integers) -> Columns:
        rows = np.flatnonzero(self.active)
        lengths = self.transcript.lengths[rows]
        tracks = self.transcript.tracks[:, rows, lengths - 1]
        top_ids, top_logprobs = (
            None if column is None else column.cpu().numpy()[rows]
            for column in (choice.top_ids, choice.top_logprobs)
        )
        return Columns(
            self.handles[rows],
            ids[rows],
            # The noise of a stream may itself begin at an offset.
            lengths - 1 + self.noise_offsets[rows] - self.noise.offset,
            tracks[0],
            tracks[2],
            top_ids,
            top_logprobs,
        )

    def _trajectory(self, row: int) -> Trajectory:
        """The answer as far as it is written; a forced token is a segment of its own."""
        answer, line = self.answers[row], self.transcript
        segments = []
        is_forced = self.forced[row] >= 0
        if is_forced and line.lengths[row]:
            segments.append(line.segment(row, "forced", self.version).first(1))
        if line.lengths[row] > is_forced:
            segments.append(line.segment(row, self.source, self.version, int(is_forced)))
        truncated = not segments or segments[-1].ids[-1] not in self.eos_ids
        return answer.request.answered(answer.sample, tuple(segments), truncated)

    def _row(self, handle: int) -> int:
        rows = np.flatnonzero(self.active & (self.handles == handle))
        if not len(rows):
            raise KeyError(handle)
        return int(rows[0])

    def _remove_finished(self) -> None:
        """Remove finished rows once there are enough of them."""
        active_rows = np.flatnonzero(self.active)
        if len(self) - len(active_rows) < max(1, REMOVAL_SHARE * len(self)):
            return
        # Answers that start next copy the cache anyway.
        if self._starts(self.rows - len(active_rows)):
            return
        if self.cache is not None:
            layers, lengths = self.cache.layers, self.cache.lengths
            self.cache = (
                joined([Part(layers, lengths, active_rows)])[0] if len(active_rows) else None
            )
        self._keep(active_rows)

    def _keep(self, rows: Integers) -> None:
        """Reduce everything but the cache to some rows."""
        self.logits = self.logits[self._tensor(rows)]
        self.answers = [self.answers[row] for row in rows.tolist()]
        self.active, self.keys = self.active[rows], self.keys[rows]
        self.handles, self.forced = self.handles[rows], self.forced[rows]
        self.noise_offsets, self.limits = self.noise_offsets[rows], self.limits[rows]
        self.transcript.keep(rows)

    def _tensor(self, values: NDArray[np.int64] | NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values).to(self.device)
